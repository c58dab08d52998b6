"""Do new points cost more as more are known?

The notes: interference; returns diminish as skills build. In a dense network every weight serves every point; a bank
of memories gives each point a place of its own. If interference is what slows learning down, the dense network's cost
of the next points grows faster.

Runs: made by this script in runs/questions/do_new_points_cost_more_as_more_are_known.
Command: python analysis/do_new_points_cost_more_as_more_are_known.py [--seeds 0-4] [--generations 1200]
"""

from galab.analysis.questions.question import BANK, MOVE_OR_TARGET, NO_GRADIENT, RIGHT, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="do_new_points_cost_more_as_more_are_known",
    title="Do new points cost more as more are known? 8 parents, 32 children, fitness wrong, about 9,000 weights.",
    conditions=(
        Condition("MLP, all weights", NO_GRADIENT | {"sigma": 0.05}),
        Condition("MLP, one neuron", NO_GRADIENT | {"sigma": 0.5, "mutate": "row"}),
        Condition("64 memories", BANK | {"mutate": MOVE_OR_TARGET}),
    ),
    common={"parents": 8, "children": 32},
    generations=1200,
    seeds="0-4",
    measure="first",
    level=48.0,
    **RIGHT,
)

if __name__ == "__main__":
    ask(QUESTION, *QUESTION.at(16, 24, 32, 40, 56, 60))
