"""How many episodes per member?

More episodes make scores less noisy, and each generation dearer. CartPole; a trial is done when its champion's
validation return is 475 of 500, and what counts is how many environment steps its members have taken by then. The
episodes that choose and test the champion are not among them. The second answer is how good those champions are in
100 episodes that nothing was chosen by.

Runs: made by this script in runs/questions/how_many_episodes_per_member.
Command: python analysis/how_many_episodes_per_member.py [--seeds 0-29] [--generations 60]
"""

from dataclasses import replace

from galab.analysis.questions.question import CARTPOLE, SOLVED, TEST_RETURN, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="how_many_episodes_per_member",
    title="How many episodes per member? CartPole, 8 parents, 64 children, 1 elite.",
    conditions=tuple(
        Condition(f"{count} episode{'s' if count > 1 else ''}", {"episodes": count}) for count in (1, 4, 16)
    ),
    common=CARTPOLE,
    generations=60,
    seeds="0-29",
    **SOLVED,
)

if __name__ == "__main__":
    ask(QUESTION, replace(QUESTION, **TEST_RETURN))
