"""Does it help to mutate with the law that gradient steps follow?

The notes found that the numbers of a gradient fail Shapiro's test for normality and look exponential (Laplace's law),
and that mutations which copy that law are no better. Here mutations are normal, Laplace, or drawn from the empirical
law of 200 steps of SGD from a founder; all of unit variance, with step sizes that evolve and with a fixed one.

Runs: galab run --task digits --hidden 32 --batch 256 --crossover none --generations 50 --seed 100 --name sgd_law
      galab analyze gradients runs/sgd_law --generation 0 --steps 200 --looks 20 --export runs/sgd_updates.npy
Command: python analysis/does_copying_the_law_of_gradients_help.py [--seeds 0-4] [--generations 400]
"""

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

EMPIRICAL = "table:runs/sgd_updates.npy"
QUESTION = Question(
    name="does_copying_the_law_of_gradients_help",
    title="Does copying the law of gradients help? Digits, 64-32-10 units, minibatches of 256, 8 parents, 32 children, "
    "one parent each.",
    conditions=(
        Condition("normal", {}),
        Condition("laplace", {"distribution": "laplace"}),
        Condition("law of SGD's updates", {"distribution": EMPIRICAL}),
        Condition("law of SGD, fixed", {"distribution": EMPIRICAL, "step_size": "fixed"}),
        Condition("normal, fixed", {"step_size": "fixed"}),
        Condition("laplace, fixed", {"distribution": "laplace", "step_size": "fixed"}),
    ),
    common={
        "task": "digits", "hidden": "32", "batch": 256, "parents": 8, "children": 32, "crossover": "none",
        "sigma": 0.02, "report_every": 25, "precision": "float32", "threads": 1,
    },
    generations=400,
    seeds="0-4",
    follow="validation_loss",
    unit="cross-entropy on the validation images (nats)",
    lower_is_better=True,
)  # fmt: skip

if __name__ == "__main__":
    ask(QUESTION)
