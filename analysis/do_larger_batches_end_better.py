"""Do larger evaluation subsets end better?

The notes: the more images of MNIST score a generation, the better the end point. A generation of all 55,000 costs as
much as 859 of 64, so this is asked at equal evaluations (the figure; as many as the shortest condition has) and at
equal generations (two lines: after 80, and after 160; of the subsets that are small enough for so many).

Runs: made by this script in runs/questions/do_larger_batches_end_better.
Command: python analysis/do_larger_batches_end_better.py [--seeds 0-4] [--generations 160]
"""

from dataclasses import replace

from galab.analysis.questions.question import MNIST, TEST, Condition, Question
from galab.cli.question_script import ask

EVALUATIONS = Question(
    name="do_larger_batches_end_better",
    title="Do larger batches end better? MNIST 784-16-10, 8 parents, 32 children, three-point step sizes from 0.02.",
    conditions=(
        Condition("64 images", {"batch": 64, "report_every": 40}, length=8.0),
        Condition("256 images", {"batch": 256, "report_every": 20}, length=4.0),
        Condition("1,024 images", {"batch": 1024, "report_every": 10}),
        Condition("4,096 images", {"batch": 4096, "report_every": 5}, length=0.5),
        Condition("all 55,000 images", {"batch": 0, "report_every": 1}, length=0.05),
    ),
    common=MNIST | {"step_size": "three-point"},
    generations=160,
    seeds="0-4",
    axis="evaluations",
    **TEST,
)

if __name__ == "__main__":
    ask(EVALUATIONS, *(replace(EVALUATIONS, axis="generation", until=last) for last in (80.0, 160.0)))
