"""Do evolved mutation rates solve "till death"?

The fitness is the number of right answers before the first error. The notes: giving each memory or each weight a rate
of its own does not solve it for 64 points.

Runs: made by this script in runs/questions/do_evolved_rates_solve_till_death.
Command: python analysis/do_evolved_rates_solve_till_death.py [--seeds 0-4] [--generations 600]
"""

from galab.analysis.questions.question import BANK, BEFORE_DEATH, MOVE_OR_TARGET, Condition, Question
from galab.cli.question_script import ask

RATES = (
    ("no rate (sigma 1)", {"step_size": "fixed"}),
    ("one rate", {"step_size": "log-normal"}),
    ("a rate per memory", {"step_size": "log-normal", "granularity": "row-column"}),
    ("a rate per weight", {"step_size": "mean-reverting", "granularity": "parameter"}),
)
QUESTION = Question(
    name="do_evolved_rates_solve_till_death",
    title="Do evolved rates solve till death? 64 memories, 8 parents, 32 children.",
    conditions=tuple(Condition(label, options) for label, options in RATES),
    common=BANK | {"fitness": "tilldeath", "mutate": MOVE_OR_TARGET, "sigma_floor": 0.01},
    generations=600,
    seeds="0-4",
    level=64.0,
    measure="best",
    **BEFORE_DEATH,
)

if __name__ == "__main__":
    ask(QUESTION)
