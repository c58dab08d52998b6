"""What the questions of the memorisation laboratory have in common, so that each names only what it varies."""

from __future__ import annotations

from typing import Any

#: 64 random points of 128 numbers with random labels out of ten, all of them in every generation.
POINTS: dict[str, Any] = {"task": "memorize", "batch": 0, "crossover": "none", "step_size": "fixed"}
#: A small dense network whose fitness tells nothing but the number of errors.
NO_GRADIENT: dict[str, Any] = POINTS | {"model": "mlp", "hidden": "64", "fitness": "wrong"}
#: 64 memories, at first empty, one of which changes in each child: 8 parents, 32 children.
BANK: dict[str, Any] = POINTS | {
    "model": "memory", "parents": 8, "children": 32, "fitness": "wrong", "sigma": 1.0, "mutate": "memory-perturb",
}  # fmt: skip
#: Moves a memory or changes its class, never both at once.
MOVE_OR_TARGET = "memory-perturb:0.8,memory-target:0.2"
#: How errors are shown, out of the fitness ``wrong``.
ERRORS: dict[str, Any] = {
    "follow": "fitness_best", "factor": -1.0, "lower_is_better": True, "unit": "wrong answers of 64",
}  # fmt: skip
#: How the share of right answers of the best child is shown.
RIGHT: dict[str, Any] = {"follow": "train_accuracy", "factor": 64.0, "unit": "right answers of 64"}
#: How many are right before the first error.
BEFORE_DEATH: dict[str, Any] = {"follow": "train_tilldeath", "unit": "right answers before the first error, of 64"}
#: 1,257 small pictures of digits, all of them in every generation, so that nothing but the search is random:
#: 64-16-10 (1,210 weights), 8 parents, 32 children of one parent each.
DIGITS: dict[str, Any] = {
    "task": "digits", "model": "mlp", "hidden": "16", "batch": 0, "crossover": "none", "parents": 8, "children": 32,
    "threads": 1,
}  # fmt: skip
#: MNIST in a network that is small enough for many trials: 784-16-10 (12,730 weights).
MNIST: dict[str, Any] = DIGITS | {"task": "mnist", "data": "full"}
#: How the loss of the champion, chosen on validation images, is shown on test images that nothing was chosen by.
TEST: dict[str, Any] = {
    "follow": "test_loss", "lower_is_better": True, "unit": "test cross-entropy of the champion (nats)",
}  # fmt: skip
#: How the loss of the best child is shown.
LOSS: dict[str, Any] = {
    "follow": "train_loss", "lower_is_better": True, "unit": "training cross-entropy of the best child (nats)",
}  # fmt: skip
