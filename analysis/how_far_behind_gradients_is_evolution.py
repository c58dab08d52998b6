"""How far behind gradients is evolution, at equal evaluations?

The notes' plan for a first post: SGD as the baseline, then 64 individuals without sex, scored by the cross-entropy on
the full set. An evaluation is one example forward; SGD also goes backwards, which is not counted, and is shown until
it has converged. The full set is here the 4,000 embedded images of MNIST, so that a generation takes half a second.

Runs: made by this script in runs/questions/how_far_behind_gradients_is_evolution.
Command: python analysis/how_far_behind_gradients_is_evolution.py [--seeds 0-4] [--generations 100]
"""

from dataclasses import replace

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

EVOLUTION = {
    "crossover": "none", "batch": 0, "step_size": "three-point", "parents": 16, "children": 64, "report_every": 2,
}  # fmt: skip
QUESTION = Question(
    name="how_far_behind_gradients_is_evolution",
    title="How far behind gradients is evolution? MNIST, 4,000 images, 784-16-10; SGD: 64 images a step, rate 0.05, "
    "momentum 0.9.",
    conditions=(
        Condition("evolution, 16 parents, 64 children", EVOLUTION),
        Condition("SGD", {"strategy": "sgd", "batch": 64, "report_every": 10}, length=10.0, converges=True),
    ),
    common={"task": "mnist", "data": "subset", "model": "mlp", "hidden": "16", "threads": 1},
    generations=100,
    seeds="0-4",
    follow="test_accuracy",
    unit="share of the test images answered right",
    axis="evaluations",
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, measure="first", level=0.5))
