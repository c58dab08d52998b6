"""Does a lucky network generalise?

Networks are drawn at random until one is good on the training data: nothing was fitted to anything, so whatever it can
do on other data is luck too, or a bias of random networks. Beside it a genetic algorithm with as many evaluations. Both
are asked twice: how good on the training images of the handwritten digits, and how good on the validation images.

Runs: made by this script in runs/questions/does_a_lucky_network_generalise.
Command: python analysis/does_a_lucky_network_generalise.py [--seeds 0-4] [--generations 200]
"""

import dataclasses

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="does_a_lucky_network_generalise",
    title="Does a lucky network generalise? Digits, 64-16-10 units, 64 networks a generation, fitness accuracy.",
    conditions=(
        Condition("drawn at random", {"strategy": "random"}),
        Condition("genetic algorithm", {"sigma": 0.1}),
    ),
    common={
        "task": "digits", "hidden": "16", "batch": 0, "parents": 8, "children": 64, "fitness": "accuracy",
        "report_every": 10,
    },
    generations=200,
    seeds="0-4",
    measure="best",
    follow="train_accuracy",
    unit="share right of the training images",
)  # fmt: skip
VALIDATION = dataclasses.replace(QUESTION, follow="validation_accuracy", unit="share right of the validation images")

if __name__ == "__main__":
    ask(QUESTION, VALIDATION)
