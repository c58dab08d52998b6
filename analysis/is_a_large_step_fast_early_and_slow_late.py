"""Is a large step size fast early and slow late?

The notes: a high sigma learns fast at first and slowly later, so the curves of constant step sizes cross. Said beside
the answer: in which generation each of them has passed the next larger one for good.

Runs: made by this script in runs/questions/is_a_large_step_fast_early_and_slow_late.
Command: python analysis/is_a_large_step_fast_early_and_slow_late.py [--seeds 0-4] [--generations 400]
"""

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="is_a_large_step_fast_early_and_slow_late",
    title="Is a large step fast early and slow late? Digits 64-16-10, all 1,257 images, 8 parents, 32 children.",
    conditions=tuple(Condition(f"sigma {sigma:g}", {"sigma": sigma}) for sigma in (0.1, 0.05, 0.02, 0.01, 0.005)),
    common=DIGITS | {"step_size": "fixed"},
    generations=400,
    crossings="neighbour",
    seeds="0-4",
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION)
