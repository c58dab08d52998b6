"""Tasks whose data is made from the run's key: exact, disjoint, and what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galab.contracts import HasTrainParts, SeedDependent
from galab.errors import UsageError
from galab.tasks import load_task
from galab.tasks.classification import Classification
from galab.tasks.synthetic import SIDE, bitmaps, normals

GOLDEN = {
    "memorize": "18c87584c6433f3665127378695207c4457f15ae31ad4a7dce50d553249d0633",
    "memorize-images(points=8)": "dc8a6540651263565a8b60b2ab9a8f49f4f6e215b070273988e4bf6486f72cf1",
    "count-ones": "064360e3715be980e71dd2102cbfd6031895259603b7f4a30650d651f984eeba",
    "count-ones(bits=70, train=50)": "63e2724abddd232b384fcb688c0cbaeb1db8d08babcfbba4d4deff211d722fba",
    "shapes": "89eb1ccc64269d23612714bc02db9cf13877a464170dc3cc69f15147e115855f",
    "mixed(points=8, examples=100)": "1f5acbfe8c5692a6ac57be21b5d6bd350c6f9d2a56204aec744626445584a1cf",
}


def rows(examples) -> set[bytes]:
    return {row.numpy().tobytes() for row in examples.inputs}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_key_has_the_same_data_for_ever_and_another_key_has_others(name):
    one, again, other = (load_task(name, run_key=key) for key in (7, 7, 8))
    assert one.fingerprint == again.fingerprint == GOLDEN[name]
    assert other.fingerprint != one.fingerprint
    assert other.description == one.description
    assert isinstance(one, SeedDependent)
    assert (one.run_key, other.run_key) == (7, 8)


@pytest.mark.parametrize("name", ["count-ones", "count-ones(bits=70)", "shapes", "memorize(points=900)"])
def test_no_example_is_in_two_sets(name):
    task = load_task(name, run_key=3)
    train, validation, test = (rows(examples) for examples in (task.train, task.validation, task.test))
    assert len(train) == len(task.train)
    assert not train & test
    if name.startswith("memorize"):
        assert validation == train
    else:
        assert not validation & (train | test)
        assert len(validation) == len(task.validation)


def test_what_is_to_be_stored_is_standard_normal_with_labels_equally_likely():
    task = load_task("memorize(points=5000, dims=32, classes=5)", run_key=1)
    inputs = task.train.inputs
    assert inputs.shape == (5000, 32)
    assert abs(float(inputs.mean())) < 4 / inputs.numel() ** 0.5
    assert float(inputs.var()) == pytest.approx(1, abs=0.02)
    counts = np.bincount(task.train.targets.numpy(), minlength=5)
    assert np.abs(counts - 1000).max() < 4 * (5000 * 0.2 * 0.8) ** 0.5
    assert "validation: the training points" in task.description
    assert "chance alone" in task.description


def test_sizes_of_what_is_to_be_stored():
    first = load_task("memorize")
    assert (first.input_shape, len(first.train), len(first.test), first.outputs) == ((128,), 64, 64, 10)
    images = load_task("memorize-images")
    assert (images.input_shape, len(images.train)) == ((3, 64, 64), 512)
    assert load_task("memorize(shape=[2, 3], points=4)").input_shape == (2, 3)


@pytest.mark.parametrize("bits", [3, 16, 20, 21, 70])
def test_ones_are_counted(bits):
    sets = "train=4, validation=2, test=2" if bits == 3 else "train=400"
    task = load_task(f"count-ones(bits={bits}, {sets})", run_key=2)
    inputs, targets = task.train.inputs, task.train.targets
    assert set(inputs.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal((inputs > 0).sum(1) % 10, targets)
    if bits > 3:
        assert abs(float(inputs.mean())) < 4 / inputs.numel() ** 0.5
        assert abs(inputs.mean(0)).max() < 5 / len(inputs) ** 0.5


def test_shapes_differ_clearly_and_are_where_they_are():
    flat = bitmaps().reshape(10, -1)
    assert min(np.abs(one - other).sum() for k, one in enumerate(flat) for other in flat[:k]) >= 5
    task = load_task("shapes(noise=0.01, size=12)", run_key=4)
    places = []
    for examples in (task.train, task.validation, task.test):
        assert np.bincount(examples.targets.numpy()).min() >= len(examples) // 10
        windows = examples.inputs[:, 0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (B, 8, 8, 5, 5)
        wanted = torch.from_numpy(bitmaps())[examples.targets][:, None, None]
        inside = (windows - wanted).abs().amax((3, 4)) < 0.1
        ink = examples.inputs.clamp(0, 1).sum((1, 2, 3)) - torch.from_numpy(flat.sum(1))[examples.targets]
        assert ink.abs().max() < 2  # and nothing else is on the image
        assert inside.flatten(1).any(1).all()
        labels = examples.targets.tolist()
        found = inside.flatten(1).int().argmax(1).tolist()
        places.append(set(zip(labels, found, strict=True)))
    train, validation, test = places
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert {place for _, place in train} == set(range(64))


def test_noise_and_function_are_told_apart_in_training_alone():
    task = load_task("mixed(points=8, examples=100)", run_key=5)
    function = load_task("count-ones", run_key=5)
    assert isinstance(task, HasTrainParts)
    noise, learned = task.parts["noise"], task.parts["function"]
    assert (len(noise), len(learned), len(task.train)) == (8, 100, 108)
    assert torch.equal(learned.inputs, function.train.inputs[:100])
    assert torch.equal(learned.targets, function.train.targets[:100])
    assert torch.equal(noise.inputs, torch.from_numpy(normals(5, 64, (8, 16))))
    assert torch.equal(task.validation.inputs, function.validation.inputs)
    assert torch.equal(task.test.targets, function.test.targets)
    assert not rows(noise) & rows(learned)
    other = load_task("mixed(function='shapes(size=9)', points=3)", run_key=5)
    assert (other.input_shape, len(other.train)) == ((1, 9, 9), 4099)


def test_a_function_may_be_data_that_is_no_key_s():
    pytest.importorskip("sklearn")
    task = load_task("mixed(function=digits, points=3)", run_key=5)
    assert (task.input_shape, len(task.train)) == ((1, 8, 8), 1260)
    assert isinstance(task, Classification)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("memorize(points=0)", "task 'memorize': expected points of at least 1, got 0"),
        ("memorize(shape=[])", "expected dims of at least 1, got 0"),
        ("memorize(classes=1)", "expected classes of at least 2, got 1"),
        ("count-ones(bits=12)", "expected at most 4,096 examples of 12 bits, got 6,144"),
        ("count-ones(bits=0)", "expected bits of at least 1, got 0"),
        ("shapes(size=6)", "task 'shapes': expected size of at least 7, got 6"),
        ("shapes(noise=-0.5)", "expected noise of at least 0, got -0.5"),
        ("mixed(function='a.py:f')", "expected function to be a name that `galab tasks` lists, got 'a.py:f'"),
        ("mixed(function='a(1).py:f')", "expected function to be a name that `galab tasks` lists"),
        ("mixed(function='a.py:f(x=1)')", "expected function to be a name that `galab tasks` lists"),
        ("mixed(function=linear-regression)", "expected a function with classes and fixed examples"),
        ("mixed(function=shaeps)", "no task is called 'shaeps'. Did you mean 'shapes'"),
        ("mixed(examples=9999)", "expected at most 4,096 examples of 'count-ones', got 9,999"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(name, said):
    with pytest.raises(UsageError, match=said):
        load_task(name)
