"""Classification: its measure equals torch's, its data is checked, its fingerprint sees everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from galab.errors import UsageError
from galab.tasks import Classification
from galab.tasks.classification import loss_and_correct


def pair(count=6, classes=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 4)), random.integers(0, classes, count)


def make(**changes) -> Classification:
    parts = {"name": "toy", "train": pair(), "validation": pair(seed=1), "test": pair(seed=2), "classes": 3}
    return Classification(**(parts | changes))


def test_what_is_compiled_measures_the_same():
    random = torch.Generator().manual_seed(1)
    outputs = torch.randint(-2, 3, (6, 50, 4), generator=random).float()  # full of ties
    outputs[0] = 0.0
    outputs[1, 7] = torch.nan
    outputs[2, 8, 3] = torch.nan
    outputs[3] *= 1e4
    targets = torch.randint(0, 4, (50,), generator=random)
    task = make(classes=4, train=pair(classes=4))
    graph = make_fx(lambda *pair: task.measure(*pair))(outputs, targets)
    others = torch.randint(-2, 3, (6, 50, 4), generator=random).float()
    for values in (outputs, others):  # nothing of the values that it was traced with is left in the graph
        expected, got = task.measure(values, targets), graph(values, targets)
        torch.testing.assert_close(got["loss"], expected["loss"], rtol=1e-6, atol=1e-5, equal_nan=True)
        assert got["correct"].tolist() == expected["correct"].tolist()
    assert torch.isnan(graph(outputs, targets)["loss"]).tolist() == [False, True, True, False, False, False]


@pytest.mark.parametrize(("members", "examples", "classes"), [(5, 40, 10), (1, 1, 2), (3, 1, 4), (2, 33, 100)])
def test_measure_equals_torch_member_by_member(members, examples, classes):
    random = torch.Generator().manual_seed(0)
    outputs = 5 * torch.randn(members, examples, classes, generator=random)
    targets = torch.randint(0, classes, (examples,), generator=random)
    before = outputs.clone()
    sums = make().measure(outputs, targets)
    assert torch.equal(outputs, before)
    for member in range(members):
        expected = functional.cross_entropy(outputs[member].double(), targets, reduction="sum")
        torch.testing.assert_close(sums["loss"][member].double(), expected, rtol=1e-6, atol=1e-5)
        assert sums["correct"][member] == (outputs[member].argmax(1) == targets).sum()
    assert sums["loss"].dtype == sums["correct"].dtype == torch.float32


@pytest.mark.parametrize("scale", [1.0, 30.0, 87.0, 110.0, 1e4])
def test_that_exponentials_stop_at_the_normal_numbers_moves_no_bit(scale):
    random = torch.Generator().manual_seed(1)
    outputs = scale * torch.randn(4, 500, 10, generator=random)
    targets = torch.randint(0, 10, (500,), generator=random)
    logits = outputs.transpose(1, 2).contiguous()
    top = logits.amax(1, keepdim=True)
    chosen = logits.gather(1, targets.expand(4, 1, -1))
    wanted = (logits - top).exp().sum(1).log() + (top - chosen).squeeze(1)
    assert torch.equal(loss_and_correct(outputs, targets)[0], wanted)


def test_measure_survives_huge_logits():
    outputs = torch.tensor([[[1e30, -1e30], [-200.0, 200.0]]])
    sums = make().measure(outputs, torch.tensor([0, 0]))
    assert sums["loss"].tolist() == [400.0]
    assert sums["correct"].tolist() == [1.0]


def test_equal_logits_count_as_the_first_class_like_argmax():
    outputs = torch.randint(0, 3, (4, 500, 6), generator=torch.Generator().manual_seed(0)).float()
    targets = torch.randint(0, 6, (500,), generator=torch.Generator().manual_seed(1))
    expected = (outputs.argmax(2) == targets).sum(1).float()
    assert torch.equal(make().measure(outputs, targets)["correct"], expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_stays_with_its_member(bad):
    outputs = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(8, dtype=torch.int64)
    clean = make().measure(outputs, targets)["loss"]
    outputs[1, 5, 2] = bad
    loss = make().measure(outputs, targets)["loss"]
    assert not loss[1].isfinite()
    assert torch.equal(loss[[0, 2]], clean[[0, 2]])


def test_a_member_has_the_same_bits_in_any_company():
    outputs = torch.randn(32, 1000, 10, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(1000) % 10
    loss = make().measure(outputs, targets)["loss"]
    assert torch.equal(make().measure(outputs[7:8].clone(), targets)["loss"], loss[7:8])
    assert torch.equal(make().measure(outputs[3:20].clone(), targets)["loss"], loss[3:20])


def test_measure_has_a_gradient():
    outputs = torch.randn(2, 9, 4, requires_grad=True, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(9) % 4
    make().measure(outputs, targets)["loss"].sum().backward()
    other = outputs.detach().clone().requires_grad_()
    functional.cross_entropy(other.view(-1, 4), targets.repeat(2), reduction="sum").backward()
    torch.testing.assert_close(outputs.grad, other.grad)


def test_measure_takes_half_precision():
    outputs = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.arange(9) % 4
    assert torch.equal(make().measure(outputs, targets)["loss"], make().measure(outputs.float(), targets)["loss"])


def test_arrays_and_tensors_of_any_width_become_the_same_task():
    inputs, targets = pair()
    inputs = inputs.astype(np.float32)
    wide = make(train=(inputs.astype(np.float64), targets.astype(np.uint8)))
    tensors = make(train=(torch.from_numpy(inputs), torch.from_numpy(targets)))
    inputs.flags.writeable = False
    frozen = make(train=(inputs[::1], targets))
    assert wide.fingerprint == tensors.fingerprint == frozen.fingerprint
    assert wide.train.inputs.dtype == torch.float32
    assert wide.train.targets.dtype == torch.int64
    assert (wide.input_shape, wide.outputs, len(wide.train)) == ((4,), 3, 6)
    assert wide.description == "toy, 6 training, 6 validation and 6 test examples"


def test_the_fingerprint_sees_every_part():
    prints = [make().fingerprint, make(classes=4).fingerprint]
    for split in ("train", "validation", "test"):
        inputs, targets = pair()
        inputs[3, 2] += 1e-3
        prints.append(make(**{split: (inputs, targets)}).fingerprint)
        inputs, targets = pair()
        targets[3] = (targets[3] + 1) % 3
        prints.append(make(**{split: (inputs, targets)}).fingerprint)
    flat = {split: (value[0].reshape(6, 2, 2), value[1]) for split, value in
            (("train", pair()), ("validation", pair(seed=1)), ("test", pair(seed=2)))}
    prints.append(make(**flat).fingerprint)
    assert len(set(prints)) == len(prints)
    assert make().fingerprint == prints[0]


def test_the_fingerprint_is_the_same_for_ever():
    part = (np.arange(8, dtype=np.float32).reshape(4, 2), np.arange(4) % 2)
    task = Classification(name="fixed", train=part, validation=part, test=part, classes=2)
    assert task.fingerprint == "b82e9354d8858182e0262b7b75e96c5d936577fbd1bc89b073ac8cac88dfcee2"


def nan_inputs():
    inputs, targets = pair()
    inputs[2, 1], inputs[3, 0] = np.nan, np.inf
    return inputs, targets


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test": nan_inputs()}, "test: expected finite inputs, got 2 that are NaN or infinite"),
        ({"validation": (pair()[0], np.array([0, 1, 2, 3, 0, 0]))}, r"validation: expected targets between 0 and 2 "),
        ({"train": (pair()[0], np.array([0, 1, 2, -1, 0, 0]))}, "got -1 to 2; correct the targets or classes"),
        ({"train": (pair()[0], pair()[1].astype(float))}, "expected targets of an integer dtype, got float64"),
        ({"train": (pair()[0], np.ones((6, 2), int))}, r"expected targets of shape \(B,\), got \(6, 2\)"),
        ({"train": (pair()[0], pair()[1][:5])}, "expected as many targets as inputs, got 6 inputs and"),
        ({"test": (pair()[0][:0], pair()[1][:0])}, r"test: expected at least one example, got inputs of"),
        ({"test": (pair()[0][:, :3], pair()[1])}, r"test: expected inputs of shape \(4,\) as in train, got \(3,\)"),
        ({"train": (pair()[0][:, 0], pair()[1])}, r"expected inputs of shape \(B, ...\)"),
        ({"train": pair()[0]}, r"expected a pair \(inputs, targets\) or a data set of torch, got ndarray"),
        ({"train": (np.array(["a", "b"]), pair()[1])}, "train: expected inputs that are numbers, got ndarray of <U1"),
        ({"classes": 1}, "expected at least 2 classes, got 1"),
    ],
)
def test_bad_data_is_one_sentence(changes, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        make(**changes)
    assert str(caught.value).startswith("task 'toy'")
    assert "\n" not in str(caught.value)
