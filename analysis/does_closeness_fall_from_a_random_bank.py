"""Does closeness fall from a random bank when memories are replaced?

The notes: the intrinsic fitness, how near the nearest memory is, falls from a random start with replacement. Selection
here looks at errors alone; the closeness of the best child is followed.

Runs: made by this script in runs/questions/does_closeness_fall_from_a_random_bank.
Command: python analysis/does_closeness_fall_from_a_random_bank.py [--seeds 0-4] [--generations 500]
"""

from galab.analysis.questions.question import BANK, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="does_closeness_fall_from_a_random_bank",
    title="Does closeness fall from a random bank? 64 memories, 8 parents, 32 children, selection by errors alone.",
    conditions=(
        Condition("random bank, replaced", {"model": "memory(bank=random)", "mutate": "memory-replace"}),
        Condition("random bank, perturbed", {"model": "memory(bank=random)", "mutate": MOVE_OR_TARGET}),
        Condition("empty bank, replaced", {"mutate": "memory-replace"}),
    ),
    common=BANK,
    generations=500,
    seeds="0-4",
    follow="train_closeness",
    unit="cosine of input and nearest memory, mean",
)

if __name__ == "__main__":
    ask(QUESTION)
