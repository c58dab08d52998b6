"""What solves "till death"?

The fitness is the number of right answers before the first error, in a fixed order: an error among the first points
hides whatever is known of the later ones. The notes never solved it for 64 points. Asked here: the size of the
population, parents that survive, replacing memories that answer nothing, children that take whole memories from two
parents, all three together; then islands, and a second key that decides between equals.

Runs: made by this script in runs/questions/what_solves_till_death.
Command: python analysis/what_solves_till_death.py [--seeds 0-9] [--generations 1500]
"""

from galab.analysis.questions.question import BANK, BEFORE_DEATH, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

IDLE = {"mutate": "memory-replace(heads=unused):0.3,memory-perturb:0.5,memory-target:0.2"}
SEX = {"crossover": "row"}
KEPT = {"survival": "plus"}
ALL = IDLE | SEX | KEPT
QUESTION = Question(
    name="what_solves_till_death",
    title="What solves till death? 64 memories, sigma 1, 16 parents and 64 children where nothing else is said.",
    conditions=(
        Condition("8 parents, 32 children", {"parents": 8, "children": 32}),
        Condition("16 parents, 64 children", {}),
        Condition("parents survive", KEPT),
        Condition("unused are replaced", IDLE),
        Condition("two parents each", SEX),
        Condition("two parents, unused replaced", SEX | IDLE),
        Condition("all three", ALL),
        Condition("all three on 4 islands", ALL | {"islands": 4}),
        Condition("all three, closeness second", ALL | {"fitness": "tilldeath,closeness"}),
        Condition("all three, errors second", ALL | {"fitness": "tilldeath,wrong"}),
    ),
    common=BANK | {"mutate": MOVE_OR_TARGET, "fitness": "tilldeath", "parents": 16, "children": 64},
    generations=1500,
    level=64.0,
    measure="best",
    **BEFORE_DEATH,
)

if __name__ == "__main__":
    ask(QUESTION)
