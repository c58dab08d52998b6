"""Which step size learns memories best?

The notes: sigma = 1 is best, 3 maybe. A step of sigma on a unit vector, which then returns to the sphere, turns it by
about arctan(sigma): 6 degrees at 0.1, 45 at 1, 83 at 8, which is as good as a new vector.

Runs: made by this script in runs/questions/which_step_size_learns_memories.
Command: python analysis/which_step_size_learns_memories.py [--seeds 0-4] [--generations 500]
"""

from galab.analysis.questions.question import BANK, ERRORS, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="which_step_size_learns_memories",
    title="Which step size learns memories best? 64 memories on the sphere, 8 parents, 32 children.",
    conditions=tuple(Condition(f"sigma {sigma:g}", {"sigma": sigma}) for sigma in (0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 8.0)),
    common=BANK | {"mutate": MOVE_OR_TARGET},
    generations=500,
    seeds="0-4",
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
