"""Do elites help under noise?

A return in one episode is mostly luck, so an elite may be a lucky child that blocks better ones; its score is measured
anew in each generation. With confirmation the best three children and the elite play ten more episodes before they
are ranked. CartPole, one episode a member; a trial is done when its champion's validation return is 475 of 500. What
counts is environment steps, those of the confirmation among them; the episodes that choose and test the champion are
not.

Runs: made by this script in runs/questions/do_elites_help_under_noise.
Command: python analysis/do_elites_help_under_noise.py [--seeds 0-15] [--generations 60]
"""

from dataclasses import replace

from galab.analysis.questions.question import CARTPOLE, SOLVED, TEST_RETURN, Condition, Question
from galab.cli.question_script import ask

RULES = {
    "no elite": {"elites": 0},
    "1 elite": {"elites": 1},
    "1 elite, confirmed": {"elites": 1, "confirm": 3, "confirm_episodes": 10},
}
QUESTION = Question(
    name="do_elites_help_under_noise",
    title="Do elites help under noise? CartPole, policies 4-16-2, one episode a member.",
    conditions=tuple(
        Condition(f"{parents}/{children}, {label}", {"parents": parents, "children": children} | options, length)
        for parents, children, length in ((1, 16, 2.0), (8, 64, 1.0))
        for label, options in RULES.items()
    ),
    common=CARTPOLE,
    generations=60,
    seeds="0-15",
    **SOLVED,
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, **TEST_RETURN))
