"""Is replacing whole memories slower than letting them grow?

The notes: full replacement by random unit vectors learns, but slower than vectors whose norm grows. Both change one
memory per child; the growing ones are compared by the inner product.

Runs: made by this script in runs/questions/is_replacing_memories_slower_than_letting_them_grow.
Command: python analysis/is_replacing_memories_slower_than_letting_them_grow.py [--seeds 0-4] [--generations 1000]
"""

from galab.analysis.questions.question import BANK, ERRORS, Condition, Question
from galab.cli.question_script import ask

GROWING = {"model": "memory(norm=free)", "mutate": "row"}
QUESTION = Question(
    name="is_replacing_memories_slower_than_letting_them_grow",
    title="Is replacing memories slower than letting them grow? 64 memories, 8 parents, 32 children, fitness wrong.",
    conditions=(
        Condition("replaced, on the sphere", {"mutate": "memory-replace"}),
        Condition("growing, sigma 0.1", GROWING | {"sigma": 0.1}),
        Condition("growing, sigma 0.3", GROWING | {"sigma": 0.3}),
        Condition("growing, sigma 1", GROWING | {"sigma": 1.0}),
    ),
    common=BANK,
    generations=1000,
    seeds="0-4",
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
