"""Does a population of lineages help on CartPole?

One parent is one lineage; eight parents are up to eight. Each breeds 32 children, and the lone parent 16 as well. A
trial is done when its champion's validation return is 475 of 500; what counts is how many environment steps its
members have taken by then. The episodes that choose and test the champion are not among them.

Runs: made by this script in runs/questions/does_a_population_of_lineages_help_on_cartpole.
Command: python analysis/does_a_population_of_lineages_help_on_cartpole.py [--seeds 0-29] [--generations 60]
"""

from dataclasses import replace

from galab.analysis.questions.question import CARTPOLE, SOLVED, TEST_RETURN, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="does_a_population_of_lineages_help_on_cartpole",
    title="Does a population of lineages help on CartPole? Policies 4-16-2, one episode a member, 1 elite.",
    conditions=tuple(
        Condition(f"{parents}/{children}", {"parents": parents, "children": children}, length=32 / children)
        for parents, children in ((1, 16), (1, 32), (8, 32))
    ),
    common=CARTPOLE,
    generations=60,
    seeds="0-29",
    **SOLVED,
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, **TEST_RETURN))
