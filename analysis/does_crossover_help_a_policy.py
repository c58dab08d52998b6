"""Does crossover help a policy?

Children of one parent against children of two, whose weights are mixed one by one ("parameter") or in all weights of
a neuron ("row"). Pendulum, eight episodes a member; all have 30 generations, which are 3.1 million environment steps.

Runs: made by this script in runs/questions/does_crossover_help_a_policy.
Command: python analysis/does_crossover_help_a_policy.py [--seeds 0-15] [--generations 30]
"""

from dataclasses import replace

from galab.analysis.questions.question import TEST_RETURN, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="does_crossover_help_a_policy",
    title="Does crossover help a policy? Pendulum, 8/64, eight episodes a member.",
    conditions=tuple(Condition(rule, {"crossover": rule}) for rule in ("none", "parameter", "row")),
    common={
        "task": "pendulum(validation=50)", "hidden": "32", "episodes": 8, "parents": 8, "children": 64, "sigma": 0.3,
        "report_every": 3, "threads": 1,
    },
    generations=30,
    seeds="0-15",
    follow="validation_return",
    unit="validation return",
)  # fmt: skip

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, **TEST_RETURN))
