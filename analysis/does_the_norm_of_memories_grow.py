"""Does the norm of memories grow with every mutation?

The notes: where a memory's vector and class logits move by normal noise, its norm grows. By the inner product a longer
vector wins more inputs; by Euclidean distance it does not; on the sphere nothing can grow. Without selection noise
alone makes the square of the norm grow by sigma^2 x 128 with every mutation of a memory.

Runs: made by this script in runs/questions/does_the_norm_of_memories_grow.
Command: python analysis/does_the_norm_of_memories_grow.py [--seeds 0-4] [--generations 1000]
"""

from galab.analysis.questions.question import BANK, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

GROWING = {"mutate": "row", "sigma": 0.1}
QUESTION = Question(
    name="does_the_norm_of_memories_grow",
    title="Does the norm of memories grow with every mutation? 64 memories, 8 parents, 32 children, fitness wrong.",
    conditions=(
        Condition("anywhere, inner product", {"model": "memory(norm=free)", **GROWING}),
        Condition("anywhere, distance", {"model": "memory(norm=free, closeness=distance)", **GROWING}),
        Condition("on the sphere", {"mutate": MOVE_OR_TARGET}),
    ),
    common=BANK | {"report_every": 10},
    generations=1000,
    seeds="0-4",
    follow="memory_norm",
    unit="mean norm of the filled memories of the best parent",
)

if __name__ == "__main__":
    ask(QUESTION)
