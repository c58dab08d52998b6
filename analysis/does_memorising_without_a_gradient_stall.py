"""Does learning by heart without a gradient stall?

One parent, 16 children and a fitness that counts errors: the laboratory's notes saw it halt at about 21 of 64 wrong
with a step size of 0.02, and larger steps were no help. A network of 128-64-10 units; 64 random points.

Runs: made by this script in runs/questions/does_memorising_without_a_gradient_stall.
Command: python analysis/does_memorising_without_a_gradient_stall.py [--seeds 0-4] [--generations 1500]
"""

from galab.analysis.questions.question import ERRORS, NO_GRADIENT, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="does_memorising_without_a_gradient_stall",
    title="Does learning by heart without a gradient stall? One parent, 16 children, fitness minus the errors.",
    conditions=tuple(Condition(f"sigma {sigma:g}", {"sigma": sigma}) for sigma in (0.02, 0.05, 0.1, 0.2)),
    common=NO_GRADIENT | {"parents": 1, "children": 16},
    generations=1500,
    seeds="0-4",
    **ERRORS,
)

if __name__ == "__main__":
    ask(QUESTION)
