"""Do closeness and right answers want the same step size?

The notes: the sigma that is best for the intrinsic fitness is not the one that is best for the task. Each is
selected for alone, at seven step sizes.

Runs: made by this script in runs/questions/do_closeness_and_answers_want_one_step_size and ..._for_answers.
Command: python analysis/do_closeness_and_answers_want_one_step_size.py [--seeds 0-4] [--generations 500]
"""

from galab.analysis.questions.question import BANK, ERRORS, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

SIGMAS = tuple(Condition(f"sigma {sigma:g}", {"sigma": sigma}) for sigma in (0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0))
CLOSENESS = Question(
    name="do_closeness_and_answers_want_one_step_size",
    title="Which step size brings memories nearest? Selection by closeness alone, 8 parents, 32 children.",
    conditions=SIGMAS,
    common=BANK | {"mutate": MOVE_OR_TARGET, "fitness": "closeness"},
    generations=500,
    seeds="0-4",
    unit="cosine of input and nearest memory, mean",
)
ANSWERS = Question(
    name="do_closeness_and_answers_want_one_step_size_for_answers",
    title="Which step size gives the most right answers? Selection by errors alone, 8 parents, 32 children.",
    conditions=SIGMAS,
    common=BANK | {"mutate": MOVE_OR_TARGET},
    generations=500,
    seeds="0-4",
    **ERRORS,
)

if __name__ == "__main__":
    ask(CLOSENESS, ANSWERS)
