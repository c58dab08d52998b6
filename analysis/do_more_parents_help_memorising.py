"""Do more parents help learning by heart?

The notes: with 8 parents and 32 children 15 of 64 are wrong after 500 generations, where one parent halts at 21. More
children alone would help too, so one parent with 32 children is asked as well.

Runs: made by this script in runs/questions/do_more_parents_help_memorising.
Command: python analysis/do_more_parents_help_memorising.py [--seeds 0-9] [--generations 500]
"""

from galab.analysis.questions.question import ERRORS, NO_GRADIENT, Condition, Question
from galab.cli.question_script import ask

SIZES = ((1, 16), (1, 32), (2, 32), (8, 32), (16, 64))
QUESTION = Question(
    name="do_more_parents_help_memorising",
    title="Do more parents help learning by heart? MLP 128-64-10, step size 0.05, fitness minus the errors.",
    conditions=tuple(
        Condition(f"{parents} parents, {children} children", {"parents": parents, "children": children})
        for parents, children in SIZES
    ),
    common=NO_GRADIENT | {"sigma": 0.05},
    generations=500,
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
