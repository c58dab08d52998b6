"""How fast are 64 points learned by 64 memories?

The notes' best: perturb a memory, return it to the sphere, reward closeness: 500 generations. Their population is not
known; 16 parents and 64 children are asked here. The other conditions leave out the reward or change one thing more.

Runs: made by this script in runs/questions/how_fast_are_64_points_learned.
Command: python analysis/how_fast_are_64_points_learned.py [--seeds 0-9] [--generations 600]
"""

from galab.analysis.questions.question import BANK, MOVE_OR_TARGET, RIGHT, Condition, Question
from galab.cli.question_script import ask

UNUSED = "memory-replace(heads=unused):0.3,memory-perturb:0.5,memory-target:0.2"
REWARD = {"fitness": "wrong+1*closeness"}
QUESTION = Question(
    name="how_fast_are_64_points_learned",
    title="How fast are 64 points learned by 64 memories? 16 parents, 64 children, sigma 1.",
    conditions=(
        Condition("notes: perturb, closeness", {"mutate": MOVE_OR_TARGET, **REWARD}),
        Condition("without the reward", {"mutate": MOVE_OR_TARGET, "fitness": "wrong"}),
        Condition("parents survive", {"mutate": MOVE_OR_TARGET, "survival": "plus", **REWARD}),
        Condition("unused are replaced", {"mutate": UNUSED, **REWARD}),
        Condition("two parents each", {"mutate": MOVE_OR_TARGET, "crossover": "row", **REWARD}),
        Condition("two parents, unused replaced", {"mutate": UNUSED, "crossover": "row", **REWARD}),
        Condition("all three", {"mutate": UNUSED, "crossover": "row", "survival": "plus", **REWARD}),
    ),
    common=BANK | {"parents": 16, "children": 64},
    generations=600,
    measure="first",
    level=64.0,
    **RIGHT,
)

if __name__ == "__main__":
    ask(QUESTION)
