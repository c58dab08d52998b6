"""Which law of mutations memorises to the end?

The notes: the loss goes to 0 with exponential mutations, and not with "one" (every weight moves by plus or minus
sigma). All laws here have the same variance, so only their shape differs; with a constant and with an evolved step.

Runs: made by this script in runs/questions/which_law_of_mutations_memorises_to_the_end.
Command: python analysis/which_law_of_mutations_memorises_to_the_end.py [--seeds 0-4] [--generations 300]
"""

from galab.cli.asking import ask
from galab.questions.laboratory import LOSS, NO_GRADIENT
from galab.questions.question import Condition, Question

LAWS = {"normal": "normal", "exponential": "laplace", "uniform": "uniform", "one": "sign"}
QUESTION = Question(
    name="which_law_of_mutations_memorises_to_the_end",
    title="Which law of mutations memorises 64 points to the end? 128-16-10, cross-entropy, 4 parents, 16 children.",
    conditions=tuple(
        Condition(f"{law}, {words}", {"distribution": table, "step_size": rule})
        for words, rule in (("constant 0.03", "fixed"), ("evolved", "log-normal"))
        for law, table in LAWS.items()
    ),
    common=NO_GRADIENT
    | {"fitness": "cross-entropy", "hidden": "16", "parents": 4, "children": 16, "sigma": 0.03, "threads": 1},
    generations=300,
    seeds="0-4",
    logarithmic=True,
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION)
