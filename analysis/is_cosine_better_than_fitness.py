"""Is it better to choose mutations by their cosine with the gradient than by their fitness?

The notes' first to-do. A child is chosen by what it scores on the generation's examples, or by the cosine of its step
with the gradient at its parent on the same examples (``--fitness gradient-cosine``, which no search without gradients
could do). A gradient counts as three evaluations of each example, so the search by fitness has 56 children where that
by cosine has 32 children and 8 gradients: both take 56 x 256 evaluations in a generation.

Runs: made by this script in runs/questions/is_cosine_better_than_fitness.
Command: python analysis/is_cosine_better_than_fitness.py [--seeds 0-4] [--generations 600]
"""

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

COSINE = {"fitness": "gradient-cosine", "children": 32}
QUESTION = Question(
    name="is_cosine_better_than_fitness",
    title="Choose by cosine or by fitness? Digits, 64-32-10 units, minibatches of 256, 8 parents, one parent each, "
    "equal evaluations.",
    conditions=(
        Condition("fitness, sigma 0.02", {"sigma": 0.02}),
        Condition("cosine, sigma 0.02", {"sigma": 0.02, **COSINE}),
        Condition("fitness, sigma 0.007", {"sigma": 0.007}),
        Condition("cosine, sigma 0.007", {"sigma": 0.007, **COSINE}),
        Condition("fitness, sigma evolves", {"sigma": 0.02, "step_size": "log-normal"}),
    ),
    common={
        "task": "digits", "hidden": "32", "batch": 256, "parents": 8, "children": 56, "crossover": "none",
        "step_size": "fixed", "report_every": 25, "precision": "float32", "threads": 1,
    },
    generations=600,
    seeds="0-4",
    follow="validation_loss",
    unit="cross-entropy on the validation images (nats)",
    lower_is_better=True,
)  # fmt: skip

if __name__ == "__main__":
    ask(QUESTION)
