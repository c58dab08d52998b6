"""How many steps does SGD need?

The notes say of training by gradients, with a step counted as a generation: 1,000 generations to 97 %, 6,000 to a loss
of 0.02. Asked here of the 784-128-10 network on MNIST, minibatches of 64: when 97 % of the validation examples are
answered right for the first time (looked at every 50 steps), and what the loss on the step's own minibatch is at the
end. Both conditions use gradients; this is what searches without gradients stand beside.

Runs: made by this script in runs/questions/how_many_steps_does_sgd_need.
Command: python analysis/how_many_steps_does_sgd_need.py [--seeds 0-4] [--generations 6000]
"""

import dataclasses

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

STEPS = Question(
    name="how_many_steps_does_sgd_need",
    title="How many steps does SGD need? MNIST, 784-128-10, minibatches of 64; a generation is one step.",
    conditions=(
        Condition("SGD, momentum 0.9, rate 0.05", {"strategy": "sgd"}),
        Condition("Adam, rate 0.001", {"strategy": "adam"}),
    ),
    common={"task": "mnist", "report_every": 50, "threads": 1},
    generations=6000,
    seeds="0-4",
    follow="validation_accuracy",
    unit="validation accuracy",
    measure="first",
    level=0.97,
)
LOSS = dataclasses.replace(
    STEPS,
    follow="train_loss",
    unit="cross-entropy on the step's 64 examples (nats)",
    lower_is_better=True,
    measure="end",
    level=None,
)

if __name__ == "__main__":
    ask(STEPS, LOSS)
