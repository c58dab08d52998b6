"""Does a warm-up of step sizes alone end too high, and does it help or hurt?

The notes: exponential mutations begin at 0.5, and for 500 generations only step sizes are inherited, weights are not;
what comes out is too high ("divide by 10"). Generations of the warm-up count. The second line is the step size that
the warm-up ends with, beside what the others have come to by then.

Runs: made by this script in runs/questions/is_the_warm_up_of_step_sizes_too_high.
Command: python analysis/is_the_warm_up_of_step_sizes_too_high.py [--seeds 0-4] [--generations 640]
"""

from dataclasses import replace

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="is_the_warm_up_of_step_sizes_too_high",
    title="Is a warm-up of step sizes too high? Digits 64-16-10, all images, 4 parents, 16 children, exponential, "
    "three-point; generations of the warm-up count.",
    conditions=(
        Condition("start 0.02", {"sigma": 0.02}),
        Condition("start 0.5", {"sigma": 0.5}),
        Condition("start 0.5, warm-up of 500", {"sigma": 0.5, "sigma_only": 500}),
    ),
    common=DIGITS
    | {"parents": 4, "children": 16, "distribution": "laplace", "step_size": "three-point", "sigma_floor": 0.0005},
    generations=640,
    seeds="0-4",
    logarithmic=True,
    **LOSS,
)
STEPS = replace(QUESTION, follow="step_size_p50", unit="median step size of the parents", until=500.0, ranked=False)

if __name__ == "__main__":
    ask(QUESTION, STEPS)
