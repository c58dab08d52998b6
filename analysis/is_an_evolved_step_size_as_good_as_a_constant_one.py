"""Is an evolved step size as good as a constant one?

The notes: mutating sigma is about as good as a constant 0.03, which is slower early and faster late. Asked here of
the two rules that mutate it, three-point (times or over 1.05, or 1.3) and log-normal, all beginning at 0.03.

Runs: made by this script in runs/questions/is_an_evolved_step_size_as_good_as_a_constant_one.
Command: python analysis/is_an_evolved_step_size_as_good_as_a_constant_one.py [--seeds 0-4] [--generations 400]
"""

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="is_an_evolved_step_size_as_good_as_a_constant_one",
    title="Is an evolved step size as good as a constant 0.03? Digits 64-16-10, all 1,257 images, 8 parents, "
    "32 children.",
    conditions=(
        Condition("constant", {"step_size": "fixed"}),
        Condition("log-normal", {"step_size": "log-normal"}),
        Condition("three-point, g = 1.05", {"step_size": "three-point"}),
        Condition("three-point, g = 1.3", {"step_size": "three-point", "step_size_rate": 0.3785}),
    ),
    common=DIGITS | {"sigma": 0.03},
    generations=400,
    crossings="first",
    seeds="0-4",
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION)
