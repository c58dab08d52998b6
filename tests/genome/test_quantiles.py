"""Quantile tables that are not built in, against scipy's and NumPy's own quantiles."""

from __future__ import annotations

import base64
import hashlib
import zlib

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
