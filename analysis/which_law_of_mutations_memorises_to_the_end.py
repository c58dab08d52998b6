"""Which law of mutations brings the loss to 0?

The notes: the loss goes to 0 with exponential mutations, and not with "one" (every weight moves by plus or minus
sigma). All laws here have the same variance, so only their shape differs; with a constant and with an evolved step,
on 64 random points that can only be memorised, and on digits for three tenths of the generations.

Runs: made by this script in runs/questions/which_law_of_mutations_memorises_to_the_end and ..._learns_digits_...
Command: python analysis/which_law_of_mutations_memorises_to_the_end.py [--seeds 0-4] [--generations 600]
"""

from galab.analysis.questions.question import DIGITS, LOSS, NO_GRADIENT, Condition, Question
from galab.cli.question_script import ask

LAWS = {"normal": "normal", "exponential": "laplace", "uniform": "uniform", "one": "sign"}
RULES = (("constant 0.03", "fixed"), ("evolved", "log-normal"))
SMALL = {"parents": 4, "children": 16, "sigma": 0.03, "threads": 1}
LAW_BY_RULE = [
    (f"{law}, {words}", {"distribution": table, "step_size": rule})
    for words, rule in RULES
    for law, table in LAWS.items()
]
MEMORISE = Question(
    name="which_law_of_mutations_memorises_to_the_end",
    title="Which law of mutations memorises 64 points to the end? 128-16-10, cross-entropy, 4 parents, 16 children.",
    conditions=tuple(Condition(label, options) for label, options in LAW_BY_RULE),
    common=NO_GRADIENT | SMALL | {"fitness": "cross-entropy", "hidden": "16"},
    generations=600,
    seeds="0-4",
    logarithmic=True,
    **LOSS,
)
LEARN = Question(
    name="which_law_of_mutations_learns_digits_to_the_end",
    title="Which law of mutations learns digits to the end? 64-16-10, all 1,257 images, 4 parents, 16 children.",
    conditions=tuple(Condition(label, options, length=0.3) for label, options in LAW_BY_RULE),
    common=DIGITS | SMALL,
    generations=600,
    seeds="0-4",
    logarithmic=True,
    **LOSS,
)

if __name__ == "__main__":
    ask(MEMORISE, LEARN)
