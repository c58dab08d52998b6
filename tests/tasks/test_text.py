"""Texts whose next bytes are predicted: what a generation reads, what is measured, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from galab.errors import DataError, UsageError
from galab.tasks.data import texts
from galab.tasks.data.download import UnavailableError
from galab.tasks.data.texts import Text, read_text
from galab.tasks.load import load_task
from galab.tasks.text import ByteText, counting, references

TEXT = bytes(np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8))


def test_generations_read_on_in_every_part_and_begin_anew_at_its_end() -> None:
    task = ByteText("t", TEXT, 16)
    train = TEXT[: len(TEXT) * 18 // 20]
    part = len(train) // 3
    windows = (part - 1) // 16
    for generation in (1, 2, windows, windows + 1):
        start = (generation - 1) % windows * 16
        rows = task.sequences(generation, 3)
        assert rows.shape == (3, 17)
        for number, row in enumerate(rows):
            assert row.tobytes() == train[number * part + start :][:17]
        assert task.begins(generation, 3) == (start == 0)
    examples = task.sample(5, 2, 3)
    assert examples.inputs.tolist() == task.sequences(2, 3)[:, :-1].tolist()
    assert examples.targets.tolist() == task.sequences(2, 3)[:, 1:].tolist()


def test_what_is_measured() -> None:
    task = ByteText("t", TEXT, 4)
    targets = torch.randint(0, 256, (3, 4))
    logits = torch.randn(2, 3, 4, 256)
    found = task.measure(logits.flatten(2), targets)
    loss = [torch.nn.functional.cross_entropy(each.flatten(0, 1), targets.flatten()) * 3 for each in logits]
    torch.testing.assert_close(found["loss"], torch.stack(loss))
    torch.testing.assert_close(found["bits"], torch.stack(loss) / math.log(2))
    assert float(task.measure(torch.zeros(1, 3, 1024), targets)["bits"]) == pytest.approx(24)
    exact = torch.nn.functional.one_hot(targets, 256).float()[None] * 50
    assert task.measure(exact.flatten(2), targets)["correct"].tolist() == [3.0]


def test_references_are_those_of_counts() -> None:
    train = np.frombuffer(b"abababababab", np.uint8)
    found = references(train, np.frombuffer(b"abab", np.uint8)[None])
    single = -math.log2(7 / (12 + 256))
    assert found["unigram"] == pytest.approx(single)
    assert found["bigram"] < 0.3
    task = counting()
    assert task.references["bigram"] < task.references["unigram"] < 8
    assert "unigram" in task.description


def test_any_file_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(TEXT)
    task = load_task(f"bytes(file={path}, length=8)")
    assert (task.name, task.input_shape, task.outputs) == ("own.txt", (8,), 2048)
    other = load_task(f"bytes(file={path}, length=9)")
    assert task.fingerprint != other.fingerprint
    (tmp_path / "empty.txt").write_bytes(b"")
    for text, said in (
        (f"bytes(file={tmp_path / 'empty.txt'})", "expected a text in .*, got an empty file"),
        (f"bytes(file={tmp_path / 'none.txt'})", "expected a file at .*, got: No such file"),
        (f"bytes(file={path}, length=500)", "whose twentieth part is longer than a sequence of 500 bytes, got 4,000"),
        (f"bytes(file={path}, length=0)", "expected a length from 1 to 65,536 bytes, got 0"),
    ):
        with pytest.raises(UsageError, match=said):
            load_task(text)
    with pytest.raises(UsageError, match="expected parts longer than a sequence of 8 bytes, got 3,600 bytes in 500"):
        task.sequences(1, 500)  # type: ignore[attr-defined]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No text anywhere, and no network."""
    monkeypatch.setenv("GALAB_DATA", str(tmp_path))
    monkeypatch.setattr(texts, "cache_folder", lambda: tmp_path / "cache")

    def refused(*given: Any, **named: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", refused)
    return tmp_path


def test_a_text_is_found_checked_or_asked_for(nowhere: Path) -> None:
    with pytest.raises(UnavailableError, match="expected input.txt of tinyshakespeare from .*, got OSError; connect"):
        read_text(Text.TINYSHAKESPEARE)
    with pytest.raises(UnavailableError, match="TinyStories.* or tinystories_sample.txt in the folder tinystories/"):
        read_text(Text.TINYSTORIES)
    (nowhere / "tinyshakespeare").mkdir()
    (nowhere / "tinyshakespeare" / "input.txt").write_bytes(b"To be")
    with pytest.raises(DataError, match="to hold input.txt of tinyshakespeare .sha256 86c4e6aa9db7"):
        read_text(Text.TINYSHAKESPEARE)
    (nowhere / "tinystories").mkdir()
    (nowhere / "tinystories" / "tinystories_sample.txt").write_bytes(TEXT)
    assert read_text(Text.TINYSTORIES) == TEXT
