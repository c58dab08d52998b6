"""Why does the last point stick?

The notes: a given memory mutates in a 64th of the children, so the last point waits for its turn. If that is why, the
generations from 60 to 64 right shrink as the children grow, and most of the time is spent on the last few points.

Runs: made by this script in runs/questions/why_does_the_last_point_stick.
Command: python analysis/why_does_the_last_point_stick.py [--seeds 0-4] [--generations 2000]
"""

from galab.analysis.questions.question import BANK, MOVE_OR_TARGET, RIGHT, Condition, Question
from galab.cli.question_script import ask

SIZES = ((4, 16), (8, 32), (16, 64))
QUESTION = Question(
    name="why_does_the_last_point_stick",
    title="Why does the last point stick? 64 memories, 64 points, a quarter of the children are parents.",
    conditions=tuple(
        Condition(f"{children} children", {"parents": parents, "children": children}) for parents, children in SIZES
    ),
    common=BANK | {"mutate": MOVE_OR_TARGET, "survival": "plus"},
    generations=2000,
    seeds="0-4",
    measure="first",
    level=64.0,
    **RIGHT,
)

if __name__ == "__main__":
    ask(QUESTION, *QUESTION.at(32, 48, 56, 60, 62, 63))
