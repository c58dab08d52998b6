"""Quantile tables of samples in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.errors import UsageError
from galab.genome.quantile_tables import make

LEVELS = (np.arange(65_536) + 0.5) / 65_536


def samples(count: int, seed: int = 1) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_t(4, count) * 0.003 + 0.001


@pytest.mark.parametrize("count", [100, 1234, 200_000])
def test_the_table_holds_the_samples_quantiles_at_variance_1(tmp_path: Path, count: int) -> None:
    values = samples(count)
    np.save(tmp_path / "updates.npy", values)
    found = make(f"table:{tmp_path}/updates.npy")
    some = np.concatenate([np.arange(20), np.arange(20, 65_516, 97), np.arange(65_516, 65_536)])
    expected = np.quantile(values, LEVELS[some], method="hazen")
    scale = np.ptp(expected) / np.ptp(found.quantiles[some].astype(np.float64))
    np.testing.assert_allclose(found.quantiles[some] * scale, expected, rtol=1e-6, atol=1e-6 * scale)
    assert scale == pytest.approx(values.std(), rel=0.02)
    assert found.quantiles.astype(np.float64).var() == pytest.approx(1, abs=1e-6)
    assert found.quantiles.mean() == pytest.approx(values.mean() / values.std(), abs=0.01)


def test_as_many_samples_as_entries_are_the_table_themselves(tmp_path: Path) -> None:
    values = samples(65_536)
    np.save(tmp_path / "updates.npy", values)
    found = make(f"table:{tmp_path}/updates.npy").quantiles
    assert np.array_equal(found, (np.sort(values) / values.std()).astype(np.float32))


def test_order_shape_type_and_scale_of_the_samples_do_not_matter(tmp_path: Path) -> None:
    values = samples(1200).astype(np.float32)
    forms: dict[str, Any] = {
        "a.npy": values,
        "b.npy": values[::-1].reshape(3, 4, 100),
        "c.npy": values.astype(">f8"),
        "d.npy": np.asfortranarray(values.reshape(40, 30)),
        "e.npy": values * np.float32(4),
        "f.npy": values.astype(np.float64) * 2.0**1000,
        "g.npy": values.astype(np.float64) * 2.0**-1000,
    }
    for name, array in forms.items():
        np.save(tmp_path / name, array)
    numbers = [repr(float(value)) for value in values]
    (tmp_path / "h.txt").write_text("\n".join(numbers))
    (tmp_path / "i.csv").write_text("".join(f"{a}, {b}\r\n" for a, b in zip(numbers[::2], numbers[1::2], strict=True)))
    hashes = {make(f"table:{tmp_path}/{name}").sha256 for name in (*forms, "h.txt", "i.csv")}
    assert len(hashes) == 1
    np.save(tmp_path / "other.npy", -values)
    assert make(f"table:{tmp_path}/other.npy").sha256 not in hashes


def test_integers_are_numbers_too(tmp_path: Path) -> None:
    np.save(tmp_path / "steps.npy", np.repeat([-1, 0, 0, 1], 100).astype(np.int8))
    quantiles = make(f"table:{tmp_path}/steps.npy").quantiles
    assert quantiles[0] == -quantiles[-1] == pytest.approx(-np.sqrt(2), rel=0.01)
    assert np.count_nonzero(quantiles == 0) > 32_000


def test_samples_that_are_not_finite_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = samples(500)
    np.save(tmp_path / "clean.npy", values)
    np.save(tmp_path / "dirty.npy", np.concatenate([values, [np.nan, np.inf, -np.inf]]))
    assert make(f"table:{tmp_path}/clean.npy").sha256 == make(f"table:{tmp_path}/dirty.npy").sha256
    assert "3 of 503 samples in" in caplog.text


def test_a_changed_file_is_another_table(tmp_path: Path) -> None:
    np.save(tmp_path / "updates.npy", samples(500))
    text = f"table:{tmp_path}/updates.npy"
    pinned = f"{text}#{make(text).sha256}"
    assert make(pinned).name == text
    np.save(tmp_path / "updates.npy", samples(500, seed=2))
    with pytest.raises(UsageError, match=r"to give the quantile table with hash .* the file was changed"):
        make(pinned)


#: An array of 80 TB, as its header has it.
HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
HUGE = b"\x93NUMPY\x01\x00\x76\x00" + HUGE.ljust(117) + b"\n"

BAD: dict[str, tuple[Any, str]] = {
    "few.npy": (np.arange(99.0), "at least 100 finite samples in .*, got 99"),
    "nan.npy": (np.full(1000, np.nan), "got 0; record more"),
    "empty.npy": (np.empty(0), "got 0"),
    "same.npy": (np.full(1000, 0.1), "quantiles that spread around their mean, got 0.1 to 0.1"),
    "zero.npy": (np.zeros(1000), "got 0 to 0"),
    "rare.npy": (np.eye(1, 10**6), "got 0 to 0"),
    "far.npy": (1e9 + np.arange(1000.0) / 1000, "closer to 0"),
    "wide.npy": (np.tile([-1.7e308, 1.7e308], 100), "float32 numbers of variance 1 cannot hold"),
    "complex.npy": (np.ones(200, complex), "expected real numbers in .*, got complex128"),
    "words.npy": (np.array(["a"] * 200), "expected real numbers"),
    "objects.npy": (np.array([None] * 200), "expected a file of numbers"),
    "broken.npy": (b"\x93NUMPY\x01\x00 and no header", "expected a file of numbers"),
    "none.npy": (b"", "expected a file of numbers"),
    "huge.npy": (HUGE, "expected a file of numbers"),
    "header.csv": (b"update\n" + b"1.5\n" * 200, "without a header, .*could not convert string to float: 'update'"),
    "latin.txt": (b"\xff\xfe" * 100, "expected a file of numbers"),
    "updates.pkl": (b"x", "with a .npy, .txt or .csv file, got"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_without_samples_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(UsageError, match=said) as caught:
        make(f"table:{tmp_path}/{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.npy", ".", "\0.npy", "\ud800.txt", "a" * 5000 + ".npy", "a\nb.csv"])
def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--distribution") as caught:
        make(f"table:{tmp_path}/{name}")
    assert "\n" not in str(caught.value)


def test_a_pickle_in_an_array_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "trap.npy", np.array([Trap()] * 200), allow_pickle=True)
    with pytest.raises(UsageError, match="expected a file of numbers"):
        make(f"table:{tmp_path}/trap.npy")
    assert not (tmp_path / "sprung").exists()
