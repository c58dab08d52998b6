"""Must an evolved step size start below the best one?

The notes: sigma mutation works only when it starts below the optimum. Here it starts at a tenth, once, ten and a
hundred times the best constant step size of these digits (0.02), under the two rules that mutate it; the floor is
the same for all, because the default floor of a thirty-second of the start would forbid the way back from far above.

Runs: made by this script in runs/questions/must_an_evolved_step_size_start_too_small.
Command: python analysis/must_an_evolved_step_size_start_too_small.py [--seeds 0-4] [--generations 250]
"""

from dataclasses import replace

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

STARTS = (("1/10 of it", 0.002), ("at it", 0.02), ("10 times", 0.2), ("100 times", 2.0))
QUESTION = Question(
    name="must_an_evolved_step_size_start_too_small",
    title="Must an evolved step size start too small? Digits 64-16-10, all images, 4 parents, 16 children; the best "
    "constant step is about 0.02.",
    conditions=(
        Condition("constant 0.02", {"step_size": "fixed", "sigma": 0.02}),
        *(
            Condition(f"{rule}, {words}", {"step_size": rule, "sigma": sigma})
            for rule in ("log-normal", "three-point")
            for words, sigma in STARTS
        ),
    ),
    common=DIGITS | {"parents": 4, "children": 16, "sigma_floor": 0.0005},
    generations=250,
    seeds="0-4",
    logarithmic=True,
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, follow="step_size_p50", unit="median step size of the parents", ranked=False))
