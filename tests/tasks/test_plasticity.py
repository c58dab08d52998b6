"""Episodes: exact, fresh, and scored by the improvement."""

from __future__ import annotations

import pytest
import torch

from galab.contracts import FreshExamples
from galab.errors import UsageError
from galab.tasks import load_task


@pytest.fixture(scope="module")
def task():
    return load_task("plasticity", run_key=7)


def test_the_data_is_the_same_for_ever_and_every_key_s_own(task):
    assert isinstance(task, FreshExamples)
    assert task.fingerprint == "9a0635e0f3221eee9fbf1ba46bf2dba32805573e59733020932ad1ca9c128923"
    assert load_task("plasticity", run_key=7).fingerprint == task.fingerprint
    assert load_task("plasticity", run_key=8).fingerprint != task.fingerprint
    assert (task.input_shape, task.outputs, len(task.train)) == ((32, 20), 256, 256)


def test_every_generation_has_episodes_of_its_own(task):
    made = [task.sample(key, generation, 5) for key in (7, 8) for generation in (1, 2)]
    made += [task.train, task.validation, task.test]
    assert len({tuple(examples.inputs[0].flatten().tolist()) for examples in made}) == 7
    assert torch.equal(task.sample(7, 1, 5).inputs, made[0].inputs)


def test_labels_stand_beside_the_points_and_are_equally_likely(task):
    examples = task.sample(1, 1, 400)
    points, labels = examples.inputs.split([16, 4], dim=2)
    assert torch.equal(labels.argmax(2), examples.targets)
    assert torch.equal(labels.sum(2), torch.ones(400, 32))
    assert abs(float(points.mean())) < 4 / points.numel() ** 0.5
    counts = examples.targets.flatten().bincount()
    assert (counts - 3200).abs().max() < 4 * (12_800 * 0.25 * 0.75) ** 0.5
    # The words of the labels are none of those of the points.
    assert abs(float(torch.corrcoef(torch.stack([points[..., 0].flatten(), examples.targets.flatten()]))[0, 1])) < 0.04


def test_the_loss_is_what_is_left_less_what_there_was(task):
    logits = torch.randn(3, 5, 2, 32, 4, generator=torch.Generator().manual_seed(0))
    targets = task.sample(1, 1, 5).targets
    sums = task.measure(logits.flatten(2), targets)
    for member in range(3):
        for name, side in (("before", 0), ("after", 1)):
            each = [
                torch.nn.functional.cross_entropy(logits[member, episode, side], targets[episode])
                for episode in range(5)
            ]
            assert float(sums[name][member]) == pytest.approx(float(sum(each)), rel=1e-5)
            right = (logits[member, :, side].argmax(2) == targets).float().mean(1).sum()
            assert float(sums[f"accuracy_{name}"][member]) == pytest.approx(float(right))
    assert torch.allclose(sums["loss"], sums["after"] - sums["before"], atol=1e-4)


def test_sizes_are_arguments():
    other = load_task("plasticity(points=6, dims=3, classes=2)")
    assert (other.input_shape, other.outputs) == ((6, 5), 24)
    with pytest.raises(UsageError, match="task 'plasticity': expected classes of at least 2, got 1"):
        load_task("plasticity(classes=1)")
