"""Which of the notes' exponential step sizes is best, and what is special about lambda 89?

The notes mutate by an exponential law on both sides of 0 with rate lambda: 466, 976, 182, 136, and "lambda89 is
important" without a reason. Such a law has the standard deviation sqrt(2) / lambda, which is what --sigma means here.

Runs: made by this script in runs/questions/which_exponential_step_size_is_best.
Command: python analysis/which_exponential_step_size_is_best.py [--seeds 0-4] [--generations 200]
"""

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

#: lambda to sqrt(2) / lambda.
SIGMAS = {28: 0.0505, 89: 0.01589, 136: 0.0104, 182: 0.00777, 466: 0.003035, 976: 0.001449}
QUESTION = Question(
    name="which_exponential_step_size_is_best",
    title="Which exponential step size is best? Digits 64-16-10, all images, 4 parents, 16 children, constant steps.",
    conditions=tuple(
        Condition(f"lambda {rate}, sigma {sigma:.4f}", {"sigma": sigma}) for rate, sigma in SIGMAS.items()
    ),
    common=DIGITS | {"parents": 4, "children": 16, "distribution": "laplace", "step_size": "fixed"},
    generations=200,
    seeds="0-4",
    crossings="neighbour",
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION)
