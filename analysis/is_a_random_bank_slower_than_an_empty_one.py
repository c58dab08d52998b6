"""Is a bank of random memories slower than an empty one?

The notes: far slower, because for a new point the right one of 64 memories has to be hit and the right one of ten
classes, once in 640 mutations, which are 10 generations of 64; an empty bank has a free place in each generation.

Runs: made by this script in runs/questions/is_a_random_bank_slower_than_an_empty_one.
Command: python analysis/is_a_random_bank_slower_than_an_empty_one.py [--seeds 0-9] [--generations 500]
"""

from galab.analysis.questions.question import BANK, ERRORS, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="is_a_random_bank_slower_than_an_empty_one",
    title="Is a random bank slower than an empty one? 64 memories, 8 parents, 32 children, fitness wrong.",
    conditions=tuple(
        Condition(f"{bank}, {how}", {"model": f"memory(bank={bank})", "mutate": mutate})
        for how, mutate in (("replaced", "memory-replace"), ("perturbed", MOVE_OR_TARGET))
        for bank in ("empty", "random")
    ),
    common=BANK,
    generations=500,
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
