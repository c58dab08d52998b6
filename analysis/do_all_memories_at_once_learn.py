"""Do all memories learn when all of them mutate at once?

The notes: mutating all heads at once fails. Asked at three step sizes, because 64 steps together
are eight times as long.

Runs: made by this script in runs/questions/do_all_memories_at_once_learn.
Command: python analysis/do_all_memories_at_once_learn.py [--seeds 0-4] [--generations 500]
"""

from galab.analysis.questions.question import BANK, ERRORS, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="do_all_memories_at_once_learn",
    title="Do all memories mutating at once learn? 64 memories, 8 parents, 32 children, fitness wrong.",
    conditions=(
        Condition("one memory, sigma 1", {"mutate": MOVE_OR_TARGET}),
        *(
            Condition(f"all memories, sigma {sigma:g}", {"mutate": "memory-all:0.8,memory-target:0.2", "sigma": sigma})
            for sigma in (1.0, 0.3, 0.1)
        ),
    ),
    common=BANK,
    generations=500,
    seeds="0-4",
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
