"""The noise of a genome: the same bits for ever."""

from __future__ import annotations

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import philox_oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from galab.config.distribution import TABLE_HASHES
from galab.errors import GalabError, UsageError
from galab.genome import make_tables, random
from galab.genome.random import Stream, below, codes, draw, draw_all, permutation, scaled, table, words

KEYS = st.integers(0, 2**63 - 1)
LAWS = ["normal", "laplace", "uniform", "sign", "cauchy"]


def test_the_oracle_gives_the_answers_that_its_authors_publish():
    # kat_vectors of Random123, philox4x64 with 10 rounds.
    assert philox_oracle.block([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    ]
    assert philox_oracle.block([2**64 - 1] * 4, [2**64 - 1] * 2) == [
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    ]


@given(run_key=KEYS, index=st.integers(0, 2**63 - 1), stream=st.sampled_from(Stream), n=st.integers(0, 40))
def test_words_and_codes_are_philox_whoever_computes_it(run_key, index, stream, n):
    assert words(run_key, index, stream, n).tolist() == philox_oracle.words(run_key, index, stream, n)
    assert codes(run_key, index, stream, n).tolist() == philox_oracle.codes(run_key, index, stream, n)


@given(run_key=KEYS, index=st.integers(0, 2**40), n=st.integers(0, 30), more=st.integers(1, 30))
def test_a_longer_draw_begins_with_the_shorter_one(run_key, index, n, more):
    long, short = (codes(run_key, index, Stream.WEIGHTS, size) for size in (n + more, n))
    assert long[:n].tolist() == short.tolist()


@given(run_key=KEYS, index=st.integers(0, 2**40), bound=st.integers(1, 2**32), n=st.integers(0, 20))
def test_below_multiplies_the_high_half_of_a_word(run_key, index, bound, n):
    expected = [(word >> 32) * bound >> 32 for word in philox_oracle.words(run_key, index, Stream.BREEDING, n)]
    got = below(bound, run_key, index, Stream.BREEDING, n)
    assert got.tolist() == expected
    assert all(0 <= value < bound for value in expected)


def test_words_are_scaled_to_a_bound_each():
    raw = words(1, 2, Stream.SELECTION, 12).reshape(4, 3)
    bounds = np.array([[1], [10], [1000], [2**32]])
    got = scaled(raw, bounds)
    for row, bound, values in zip(raw.tolist(), bounds.ravel().tolist(), got.tolist(), strict=True):
        assert values == [(word >> 32) * bound >> 32 for word in row]


@given(run_key=KEYS, index=st.integers(0, 2**40), size=st.integers(0, 50))
def test_a_permutation_is_the_order_of_the_words(run_key, index, size):
    order = philox_oracle.words(run_key, index, Stream.BATCH, size)
    assert permutation(size, run_key, index, Stream.BATCH).tolist() == sorted(range(size), key=order.__getitem__)


def test_one_generator_serves_every_place_in_any_order_and_every_thread():
    places = [
        (42, 7, Stream.WEIGHTS, 9), (42, 8, Stream.WEIGHTS, 3), (7, 0, Stream.TIES, 1),
        (2**64 - 1, 2**40, Stream.MASK, 5),
    ]  # fmt: skip
    expected = [philox_oracle.words(*place) for place in places]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 3, 3]):
        assert [words(*places[at]).tolist() for at in order] == [expected[at] for at in order]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: words(*places[at % 4]).tolist(), range(400)))
    assert found == [expected[at % 4] for at in range(400)]


def test_several_births_are_drawn_as_each_alone():
    law = table("normal")
    together = draw_all(law, 42, [7, 3, 2**33], Stream.WEIGHTS, 10)
    assert together.tolist() == [draw(law, 42, birth, Stream.WEIGHTS, 10).tolist() for birth in (7, 3, 2**33)]


def test_golden_values_never_change():
    assert codes(42, 7, Stream.WEIGHTS, 10).tolist() == GOLDEN_CODES
    assert below(10, 42, 3, Stream.BREEDING, 12).tolist() == GOLDEN_BELOW
    assert permutation(10, 42, 3, Stream.BATCH).tolist() == GOLDEN_PERMUTATION
    for law, expected in GOLDEN_DRAWS.items():
        found = draw(table(law), 42, 7, Stream.WEIGHTS, 4)
        assert found.dtype == np.float32
        assert [float(value).hex() for value in found] == expected


def test_below_is_even_within_sampling_error():
    counts = np.bincount(below(7, 1, 1, Stream.BREEDING, 70_000), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-4


def test_the_numbers_of_the_streams_are_part_of_what_a_genome_means():
    assert {stream.name: stream.value for stream in Stream} == {
        "FOUNDER": 1, "WEIGHTS": 2, "STEP_SIZE": 3, "MASK": 4, "CHOICE": 5, "OPERATOR": 6, "HEAD": 7, "BATCH": 16,
        "TIES": 17, "BREEDING": 18, "SELECTION": 19, "MATING": 20, "CONTROL": 21, "COINS": 22,
        "PERTURBATION": 23, "EXAMPLES": 24, "INTEGERS": 25,
    }


def test_every_key_birth_and_stream_has_noise_of_its_own():
    keys = itertools.product((0, 1, 2, 2**63 - 1), (0, 1, 2, 2**40), Stream)
    seen = [codes(run_key, birth, stream, 64).tobytes() for run_key, birth, stream in keys]
    assert len(set(seen)) == len(seen) == 4 * 4 * len(Stream)


def test_the_noise_of_neighbouring_births_is_not_correlated():
    rows = np.stack([draw(table("normal"), 5, birth, Stream.WEIGHTS, 10_000) for birth in range(30)])
    correlations = np.corrcoef(rows)[np.triu_indices(30, 1)]
    assert np.abs(correlations).max() < 5 / 100  # five standard errors


@pytest.mark.parametrize("law", LAWS)
def test_a_table_is_the_file_that_its_hash_names(law):
    pinned = {
        "normal": "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f",
        "laplace": "64a5ed3940992f28445261c8d69c8e26fa4c06211e8692747f312d1e60172861",
        "uniform": "466d9848fb9d7b05ceba11f0a71b73b167f163f6dc0c31dd6d23b35e9fdd798c",
        "sign": "c9e690197cd3e1a0e72d65e857be7a87d0c1bfc394a87b2ed854589cf1a6eee4",
        "cauchy": "4ab71c35318ad1908f83b866adcd458c82b4e86d9aeec3b050fbbc6ec9a7a8b7",
    }
    found = table(law)
    assert hashlib.sha256(found.quantiles.astype("<f4").tobytes()).hexdigest() == pinned[law] == found.sha256
    assert set(TABLE_HASHES) == set(LAWS)


@pytest.mark.parametrize("law", LAWS)
def test_a_table_is_symmetric_ascending_and_of_unit_variance(law):
    found = table(law)
    assert found.quantiles.shape == (65_536,)
    assert found.quantiles.dtype == np.float32
    assert np.array_equal(found.quantiles, -found.quantiles[::-1])
    assert np.all(np.diff(found.quantiles) >= 0)
    assert abs(np.mean(found.quantiles.astype(np.float64) ** 2) - 1) < 1e-6
    assert found.peak == found.quantiles.max()


@pytest.mark.parametrize(
    ("law", "ppf"),
    [
        ("normal", stats.norm.ppf),
        ("laplace", stats.laplace.ppf),
        ("uniform", stats.uniform(-1, 2).ppf),
        # Of the standard law given |z| <= 64: its levels are squeezed into those between -64 and 64.
        ("cauchy", lambda p: stats.cauchy.ppf(stats.cauchy.cdf(-64) + p * (1 - 2 * stats.cauchy.cdf(-64)))),
    ],
)
def test_a_table_holds_the_quantiles_of_its_law(law, ppf):
    quantiles = ppf((np.arange(65_536) + 0.5) / 65_536)
    expected = quantiles / np.sqrt(np.mean(quantiles**2))
    np.testing.assert_allclose(table(law).quantiles, expected, rtol=1e-6, atol=1e-6)


def test_the_recipe_in_make_tables_gives_the_shipped_tables():
    for law, values in make_tables.all_tables().items():
        np.testing.assert_allclose(values, table(law).quantiles, rtol=1e-6, atol=1e-6)


def test_a_table_file_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = bytearray(table("normal").quantiles.astype("<f4").tobytes())
    folder = tmp_path / "tables"
    folder.mkdir()
    monkeypatch.setattr(random.resources, "files", lambda package: tmp_path)
    (folder / "normal.f32").write_bytes(data)
    assert random.table.__wrapped__("normal").sha256 == table("normal").sha256
    data[1000] ^= 1
    (folder / "normal.f32").write_bytes(data)
    with pytest.raises(GalabError, match="expected the quantile table 'normal' to have hash 8babbcaf9656.*reinstall"):
        random.table.__wrapped__("normal")


def test_an_unknown_distribution_gets_the_closest_match():
    with pytest.raises(UsageError, match=r"no distribution is called 'nornal'\. Did you mean 'normal'\? Known: normal"):
        table("nornal")


def test_a_law_that_is_not_built_in_has_no_shipped_table():
    with pytest.raises(UsageError, match=r"expected one of normal, .*, cauchy here, got a scipy distribution"):
        table("scipy:t(df=5)")


def test_half_of_the_cauchy_steps_are_small_and_the_largest_are_ten_step_sizes():
    quantiles = np.abs(table("cauchy").quantiles)
    deviation = np.sqrt(64 / np.arctan(64) - 1)
    assert np.median(quantiles) == pytest.approx(np.tan(np.arctan(64) / 2) / deviation, rel=1e-4)
    assert quantiles.max() == pytest.approx(64 / deviation, rel=2e-3)


GOLDEN_CODES = [36393, 61469, 44038, 3209, 10206, 26578, 5920, 21046, 48771, 6265]
GOLDEN_BELOW = [9, 1, 0, 0, 2, 7, 7, 4, 4, 2, 3, 1]
GOLDEN_PERMUTATION = [6, 8, 1, 3, 4, 5, 2, 7, 0, 9]
GOLDEN_DRAWS = {
    "normal": ["0x1.1ce9900000000p-3", "0x1.89adb00000000p+0", "0x1.c810880000000p-2", "-0x1.a7a82e0000000p+0"],
    "laplace": ["0x1.53a0fe0000000p-4", "0x1.79c0b20000000p+0", "0x1.313af80000000p-2", "-0x1.a498d20000000p+0"],
    "uniform": ["0x1.8878ce0000000p-3", "0x1.8460ea0000000p+0", "0x1.3104500000000p-1", "-0x1.8ff9a60000000p+0"],
    "sign": ["0x1.0000000000000p+0", "0x1.0000000000000p+0", "0x1.0000000000000p+0", "-0x1.0000000000000p+0"],
    "cauchy": ["0x1.c156a80000000p-6", "0x1.7dabda0000000p-1", "0x1.7f00b80000000p-4", "-0x1.dc92820000000p-1"],
}
