"""Why did linear regression by integer EGGROLL not converge?

An earlier attempt at integer EGGROLL came no nearer to the known matrix than 26 of 33 units, and blamed the rank, the
size of the population and float16. Each of its own choices is a condition here, one at a time, beside a search with
none of them and beside EGGROLL with floats: targets that are not divided as the network's answers are, noise that stays
the same, a clip below the largest weights, steps of every weight in every update, noise as large as the weights.

Measured is the distance to the matrix that made the targets, not the loss: a search that goes to another matrix, eight
times as large, reduces the loss all the time and still moves away.

Runs: made by this script in runs/questions/why_did_regression_not_converge.
Command: python analysis/why_did_regression_not_converge.py [--seeds 0-2] [--generations 300]
"""

from galab.analysis.questions.question import Condition, Question
from galab.cli.question_script import ask

INTEGERS = {"strategy": "integer-eggroll", "move_share": "inverse:0.5"}
FLOATS = {"strategy": "eggroll", "model": "linear", "sigma": 0.1, "lr": 1.0, "precision": "float32"}
QUESTION = Question(
    name="why_did_regression_not_converge",
    title="Why did linear regression by integers not converge? 64 x 16 weights, 1,024 members a generation.",
    conditions=(
        Condition("as it should be", INTEGERS),
        Condition("targets 8 times too large", {**INTEGERS, "model": "integer-linear(scale=1)"}),
        Condition("the same noise for ever", {**INTEGERS, "noise_reuse": 1_000_000}),
        Condition("weights clipped at 1", {**INTEGERS, "weight_clip": 1.0}),
        Condition("every weight moves always", {"strategy": "integer-eggroll", "update_threshold": 0}),
        Condition("noise as large as weights", {**INTEGERS, "sigma_shift": 0}),
        Condition("floats", FLOATS),
    ),
    common={"task": "linear-regression", "population": 1024, "batch": 256, "report_every": 10},
    generations=300,
    seeds="0-2",
    measure="end",
    follow="weights_distance",
    unit="distance to the true matrix, Euclidean",
    lower_is_better=True,
    logarithmic=True,
)  # fmt: skip

if __name__ == "__main__":
    ask(QUESTION)
