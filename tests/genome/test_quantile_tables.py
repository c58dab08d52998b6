"""Quantile tables that are not built in, against scipy's and NumPy's own quantiles."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from galab.config.distribution import parse
from galab.errors import UsageError
from galab.genome.quantile_tables import LEVELS, load, make, pack, unpack
from galab.genome.random import Table, table

LEVELS_OF = (np.arange(65_536) + 0.5) / 65_536
FROZEN = {
    "scipy:t(df=5)": stats.t(5),
    "scipy:logistic": stats.logistic(),
    "scipy:expon": stats.expon(),
    "scipy:gamma(a=2.5, loc=-1, scale=3)": stats.gamma(2.5, loc=-1, scale=3),
    "scipy:norm(loc=40)": stats.norm(40),
}
#: scipy has no formula for the quantiles of these.
SLOW = {
    "scipy:foldnorm(c=1)": stats.foldnorm(1),
    "scipy:norminvgauss(a=1, b=0.5)": stats.norminvgauss(1, 0.5),
    "scipy:vonmises_line(kappa=2)": stats.vonmises_line(2),
}


@pytest.mark.parametrize("text", FROZEN)
def test_a_law_of_scipy_has_its_quantiles_at_variance_1(text: str) -> None:
    found, law = make(text), FROZEN[text]
    assert found.name == text
    assert found.quantiles.dtype == np.float32
    assert found.quantiles.shape == (65_536,)
    assert np.all(np.diff(found.quantiles) >= 0)
    some = np.array([0, 1, 77, 5000, 32_767, 32_768, 60_000, 65_534, 65_535])
    scale = np.diff(law.ppf([0.2, 0.8]))[0] / np.diff(np.interp([0.2, 0.8], LEVELS_OF, found.quantiles))[0]
    np.testing.assert_allclose(found.quantiles[some] * scale, law.ppf(LEVELS_OF[some]), rtol=2e-5, atol=2e-5)
    # The table's own spread is made 1; it misses what lies beyond its outermost quantiles.
    assert scale == pytest.approx(law.std(), rel=0.01)
    assert found.quantiles.astype(np.float64).var() == pytest.approx(1, abs=1e-5)
    assert found.quantiles.mean(dtype=np.float64) == pytest.approx(law.mean() / scale, abs=2e-3)
    assert found.peak == np.abs(found.quantiles).max()
    assert found.sha256 == hashlib.sha256(found.quantiles.astype("<f4").tobytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("text", SLOW)
def test_a_law_without_a_formula_has_its_quantiles_too(text: str) -> None:
    found, law = make(text).quantiles.astype(np.float64), SLOW[text]
    places = np.array([0, 3, 900, 20_000, 32_768, 50_000, 65_000, 65_535])
    assert found.var() == pytest.approx(1, abs=1e-5)
    tails = np.minimum(LEVELS_OF[places], 1 - LEVELS_OF[places])
    assert np.all(np.abs(law.cdf(found[places] * law.std()) - LEVELS_OF[places]) < 0.01 * tails)


def test_a_built_in_name_is_the_shipped_table() -> None:
    assert make("cauchy") is table("cauchy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scipy:tt(df=5)", "no continuous distribution of scipy.stats is called 'tt'. Did you mean 't'?"),
        ("scipy:logisticc", "Did you mean 'logistic'"),
        ("scipy:t(\n)", "expected a number for df of .*\\n"),
        ("scipy:poisson(mu=3)", "no continuous distribution of scipy.stats is called 'poisson'"),
        ("scipy:rv_continuous", "no continuous distribution"),
        ("scipy:__builtins__", "no continuous distribution"),
        ("scipy:t", "expected a number for df of --distribution scipy:t, got 'scipy:t'; write scipy:t(df=...)"),
        ("scipy:beta(a=1)", "expected a number for b of .*; write scipy:beta(a=..., b=...)"),
        ("scipy:t(dff=5)", "scipy.stats.t has no parameter 'dff'. Did you mean 'df'? It takes df, loc, scale."),
        ("scipy:norm(df=5)", "scipy.stats.norm has no parameter 'df'. It takes loc, scale."),
        ("scipy:t(df=-1)", "expected parameters that scipy.stats.t is defined for"),
        ("scipy:norm(scale=0)", "expected parameters that scipy.stats.norm is defined for"),
        ("scipy:t(df=2)", "expected --distribution with a finite variance .*'scipy:t(df=2)' with variance inf"),
        ("scipy:cauchy", "with variance nan; choose other parameters, or the truncated 'cauchy'"),
        ("scipy:norm(scale=1e-320)", "with variance 0.0"),
        ("scipy:norm(loc=1e9)", "which float32 numbers of variance 1 cannot hold"),
        ("scipy:norm(loc=1e308)", "which float32 numbers of variance 1 cannot hold"),
        ("scipy:beta(a=1e-300, b=1)", "got 0 to 0, which"),
    ],
)
def test_a_law_that_cannot_be_had_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(text)
    for part in said.split(".*"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


NUMBERS = st.sampled_from(["5", "0", "-1", "1e308", "1e-308", "0.5", "2", "", "x", "1e999", "="])


@given(
    st.sampled_from(["t", "norm", "gamma", "logistic", "beta", "lognorm", "pareto", "tt", "poisson", "describe"]),
    st.dictionaries(st.sampled_from(["df", "a", "b", "s", "loc", "scale", "x"]), NUMBERS, max_size=3),
)
@settings(max_examples=80)
def test_any_law_is_a_table_of_unit_variance_or_one_sentence(name: str, parameters: dict[str, str]) -> None:
    text = f"scipy:{name}({', '.join(f'{key}={value}' for key, value in parameters.items())})"
    quantiles, said = None, ""
    try:
        quantiles = make(text).quantiles.astype(np.float64)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
    assert said or (np.isfinite(quantiles).all() and quantiles.var() == pytest.approx(1, abs=1e-3))


def test_a_hash_that_is_given_must_come_out() -> None:
    sha256 = make("scipy:logistic").sha256
    assert make(f"scipy:logistic#{sha256}").sha256 == sha256
    with pytest.raises(UsageError, match=r"with hash 000000000000 that was saved, got .*scipy computes it differently"):
        make(f"scipy:logistic#{'0' * 64}")


def pinned(found: Table) -> str:
    return parse(found.name).pinned(found.sha256)


@pytest.mark.parametrize("text", ["scipy:t(df=5)", "scipy:expon(loc=-1)"])
def test_a_table_travels_as_a_short_text(text: str) -> None:
    found = make(text)
    packed = pack(found)
    assert len(packed) < 65_536  # a quarter of its bytes
    again = unpack(parse(pinned(found)), packed)
    assert again.quantiles.tobytes() == found.quantiles.tobytes()
    assert (again.name, again.peak, again.sha256) == (found.name, found.peak, found.sha256)


@pytest.mark.slow
def test_texts_that_hold_no_table_are_refused() -> None:
    found = make("scipy:logistic")
    meant, packed = parse(pinned(found)), pack(found)
    short = base64.b64encode(zlib.compress(b"short")).decode()
    for damaged in ("", "no base64!", packed[: len(packed) // 2], packed[8:], short):
        with pytest.raises(ValueError, match=r".+"):
            unpack(meant, damaged)
    bomb = base64.b64encode(zlib.compress(bytes(10**8))).decode()
    with pytest.raises(ValueError, match="262,145 bytes where a quantile table has 262,144"):
        unpack(meant, bomb)
    with pytest.raises(ValueError, match="a quantile table with hash"):
        unpack(parse("scipy:logistic#" + "0" * 64), packed)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_bytes_with_their_true_hash_must_be_a_table_too(value: float) -> None:
    """A stranger chooses both; a quantile that is no number would become a weight."""
    values = np.linspace(-1, 1, LEVELS, dtype="<f4") * np.float32(np.sqrt(3))


    def loaded() -> Table:
        data = values.tobytes()
        return load(parse(f"table:x.npy#{hashlib.sha256(data).hexdigest()}"), data)

    assert loaded().name == "table:x.npy"
    values[7 if value else slice(None)] = value
    with pytest.raises(ValueError, match="no quantile table of unit variance"):
        loaded()


def samples(count: int, seed: int = 1) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_t(4, count) * 0.003 + 0.001


@pytest.mark.parametrize("count", [100, 1234, 200_000])
def test_the_table_holds_the_samples_quantiles_at_variance_1(tmp_path: Path, count: int) -> None:
    values = samples(count)
    np.save(tmp_path / "updates.npy", values)
    found = make(f"table:{tmp_path}/updates.npy")
    some = np.concatenate([np.arange(20), np.arange(20, 65_516, 97), np.arange(65_516, 65_536)])
    expected = np.quantile(values, LEVELS_OF[some], method="hazen")
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
