"""Train a small convolutional network on handwritten digits with EGGROLL, without a gradient.

As with ``EGGROLLTrainer`` of eggroll-trainer: a module, a loss of all members at once, some generations. The module
that is given holds the trained weights afterwards.

    python examples/train_a_classifier.py --generations 100
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

import galab


def network() -> nn.Module:
    """Two convolutions and a linear layer for images of 8 x 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 9, 10),
    )  # fmt: skip


def main() -> None:
    """Train, and print the accuracy on images that were not shown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--population", type=int, default=256)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(digits.target)
    order = torch.randperm(len(images))
    train, test = order[:1400], order[1400:]
    model = network()

    def losses(population: galab.api.population.Population) -> torch.Tensor:
        """(N,) the mean cross-entropy of each member on one batch, the same for all."""
        batch = train[torch.randint(len(train), (128,))]
        outputs = population.outputs(images[batch])  # (N, 128, 10)
        wanted = labels[batch].expand(len(population), -1)
        return nn.functional.cross_entropy(outputs.transpose(1, 2), wanted, reduction="none").mean(1)

    trainer = galab.Trainer(
        model, losses, batched=True, direction="minimize", population_size=chosen.population, sigma=0.05,
        learning_rate=0.02, optimizer="adam", reward_shaping_fn="z-score",
    )  # fmt: skip
    trainer.train(chosen.generations)
    with torch.no_grad():
        right = (model(images[test]).argmax(1) == labels[test]).float().mean()
    print(f"test accuracy {right:.1%} after {chosen.generations} generations")


if __name__ == "__main__":
    main()
