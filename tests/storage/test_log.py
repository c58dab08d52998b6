"""The log: one line a generation, valid JSON, and cut back to a checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest

from galab.errors import RunFolderError
from galab.storage import log as log_module
from galab.storage.log import LogFile, cut_log, read_log


def write(path: Path, *generations: int) -> None:
    with LogFile(path) as log:
        for generation in generations:
            log.append({"generation": generation, "best": generation / 2})
        log.sync()


def generations_in(path: Path) -> list[int]:
    return [line["generation"] for line in read_log(path)]


def test_lines_come_back_and_are_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    with LogFile(path) as log:
        log.append({"generation": 1, "word": "größer\nzwei\ud800"})
        assert generations_in(path) == [1]
        log.append({"generation": 2})
    assert [line["generation"] for line in map(json.loads, path.read_text().splitlines())] == [1, 2]
    assert read_log(path)[0]["word"] == "größer\nzwei\ud800"


def test_nan_and_infinity_become_null_everywhere(tmp_path: Path) -> None:
    with LogFile(tmp_path / "log.jsonl") as log:
        values = [float("inf"), {"deep": (np.float32("nan"), -np.inf)}]
        log.append(
            {"generation": np.int64(1), "a": float("nan"), "b": values, "c": np.array([1.0, np.nan]), "d": {5: True}}
        )
    expected = {"generation": 1, "a": None, "b": [None, {"deep": [None, None]}], "c": [1.0, None], "d": {"5": True}}
    assert read_log(tmp_path / "log.jsonl") == [expected]


@pytest.mark.parametrize("tail", [b'{"generation": 3, "be', b"\x00" * 50, b'{"generation": 3', b"[1]", b'{"x": "\xff'])
def test_a_torn_last_line_is_skipped_by_readers_and_dropped_by_the_writer(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 1, 2)
    path.write_bytes(path.read_bytes() + tail)
    assert generations_in(path) == [1, 2]
    write(path, 3)
    assert generations_in(path) == [1, 2, 3]


def test_a_file_of_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"gen')
    assert read_log(path) == []
    assert cut_log(path, 5) is None
    assert path.read_bytes() == b""


def test_a_damaged_line_in_the_middle_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"generation": 1}\nwhat\n{"generation": 2}\n')
    with pytest.raises(RunFolderError, match=r"line 2 of .*log.jsonl"):
        read_log(path)


@pytest.mark.parametrize(
    ("generation", "stay"), [(0, []), (1, [1, 1]), (2, [1, 1, 2]), (3, [1, 1, 2, 3]), (9, [1, 1, 2, 3])]
)
def test_cut_keeps_the_lines_up_to_a_generation(tmp_path: Path, generation: int, stay: list[int]) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 1, 1, 2, 3)
    path.write_bytes(path.read_bytes() + b'{"generation": 1')  # torn
    assert cut_log(path, generation) == (stay[-1] if stay else None)
    assert generations_in(path) == stay
    write(path, 8)
    assert generations_in(path) == [*stay, 8]


def test_cut_of_a_missing_or_empty_log(tmp_path: Path) -> None:
    assert cut_log(tmp_path / "log.jsonl", 3) is None
    (tmp_path / "log.jsonl").touch()
    assert cut_log(tmp_path / "log.jsonl", 3) is None


def test_cut_of_a_long_log_reads_only_what_it_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"generation": {number}, "loss": 0.5}}\n' for number in range(10_000)))
    parsed = []
    whole = log_module._object
    monkeypatch.setattr(log_module, "_object", lambda line: parsed.append(line) or whole(line))
    assert cut_log(path, 9_900) == 9_900
    assert len(parsed) == 100
    assert generations_in(path)[-1] == 9_900


def test_a_line_needs_a_generation(tmp_path: Path) -> None:
    with LogFile(tmp_path / "log.jsonl") as log:
        for line in ({}, {"generation": "1"}, {"generation": 1.0}, {"generation": True}):
            with pytest.raises(ValueError, match="whole number 'generation'"):
                log.append(line)
    assert (tmp_path / "log.jsonl").read_bytes() == b""


def test_a_log_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"log.jsonl"):
        LogFile(tmp_path / "gone" / "log.jsonl")
    with pytest.raises(RunFolderError, match="log"):
        read_log(tmp_path)
    with pytest.raises(RunFolderError):
        cut_log(tmp_path, 1)
