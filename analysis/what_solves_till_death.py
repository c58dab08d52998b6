"""What solves "till death"?

The fitness is the number of right answers before the first error, in a fixed order: an error among the first points
hides whatever is known of the later ones. The notes never solved it for 64 points. Asked here, one thing after the
other: parents that survive, replacing memories that answer nothing, children that take whole memories from two parents;
then what decides between equals, islands, and improvement over the parents as fitness.

Runs: made by this script in runs/questions/what_solves_till_death.
Command: python analysis/what_solves_till_death.py [--seeds 0-9] [--generations 2000]
"""

from galab.cli.asking import ask
from galab.questions.laboratory import BANK, BEFORE_DEATH, MOVE_OR_TARGET
from galab.questions.question import Condition, Question

UNUSED = "memory-replace(heads=unused):0.3,memory-perturb:0.5,memory-target:0.2"
ALONE = {"fitness": "tilldeath", "mutate": MOVE_OR_TARGET}
KEPT = ALONE | {"survival": "plus"}
IDLE = KEPT | {"mutate": UNUSED}
SEX = IDLE | {"crossover": "row"}
QUESTION = Question(
    name="what_solves_till_death",
    title="What solves till death? 64 memories, 16 parents, 64 children, sigma 1.",
    conditions=(
        Condition("till death alone", ALONE),
        Condition("and parents survive", KEPT),
        Condition("and unused are replaced", IDLE),
        Condition("and two parents each", SEX),
        Condition("two parents, 4 islands", SEX | {"islands": 4}),
        Condition("two parents, closeness second", SEX | {"fitness": "tilldeath,closeness"}),
        Condition("two parents, errors second", SEX | {"fitness": "tilldeath,wrong"}),
        Condition("one parent, errors second", IDLE | {"fitness": "tilldeath,wrong"}),
    ),
    common=BANK | {"parents": 16, "children": 64},
    generations=2000,
    level=64.0,
    measure="best",
    **BEFORE_DEATH,
)

if __name__ == "__main__":
    ask(QUESTION)
