"""Do elites matter only in small populations, and is an evolved step size near the best only in large ones?

The notes: the larger the population, the nearer sigma mutation comes to the best step size; and an elite that
survives matters only where the population is small. The large one needs more evaluations, so it is judged again, in
a second line, where it ends.

Runs: made by this script in runs/questions/do_elites_matter_only_in_small_populations.
Command: python analysis/do_elites_matter_only_in_small_populations.py [--seeds 0-4] [--generations 240]
"""

from dataclasses import replace

from galab.analysis.questions.question import DIGITS, LOSS, Condition, Question
from galab.cli.question_script import ask

#: Parents, children, and how many times the question's generations.
SIZES = ((1, 16, 2.0), (8, 32, 1.0), (64, 256, 0.5))
QUESTION = Question(
    name="do_elites_matter_only_in_small_populations",
    title="Do elites matter only in small populations? Digits 64-16-10, all 1,257 images, step sizes from 0.03.",
    conditions=tuple(
        Condition(
            f"{parents}/{children}, {rule}, {'1 elite' if elites else 'no elite'}",
            {"parents": parents, "children": children, "elites": elites, "step_size": rule},
            length,
        )
        for parents, children, length in SIZES
        for rule in ("fixed", "log-normal")
        for elites in (0, 1)
    ),
    common=DIGITS | {"sigma": 0.03},
    generations=240,
    seeds="0-4",
    axis="evaluations",
    **LOSS,
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, until=120 * 256 * 1257.0))
