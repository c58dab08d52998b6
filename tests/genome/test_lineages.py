"""A thousand random lineages: a genome means the same network, whoever decodes it and however."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import random_lineages
from random_lineages import Lineage, by_arithmetic, decoder_of, digest, random_lineage

from galab.genome.births import from_rows, to_rows
from galab.genome.initial import Founders
from galab.genome.weights import Phenotype
from galab.storage import pickle_format

COUNT = 1000


@pytest.fixture(scope="module")
def lineages() -> list[Lineage]:
    return [random_lineage(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def cold(lineages: list[Lineage]) -> list[np.ndarray]:
    """Every tip rebuilt from seeds alone."""
    return [lineage.decoder(0).decode(lineage.tip).weights for lineage in lineages]


@pytest.mark.slow
def test_a_cold_rebuild_is_what_the_formulas_say(lineages, cold):
    for lineage, weights in zip(lineages, cold, strict=True):
        assert weights.dtype == np.int32
        assert np.array_equal(weights, by_arithmetic(lineage))


def test_the_lineages_are_worth_testing(lineages, cold):
    sizes = [len(weights) for weights in cold]
    assert min(sizes) >= 40
    assert max(sizes) <= 200
    depths = [lineage.births[-1].generation for lineage in lineages]
    assert np.mean(depths) > 5
    assert max(depths) > 12
    assert len({digest(weights) for weights in cold}) == COUNT


@pytest.mark.slow
def test_cached_decoding_in_any_order_gives_the_bits_of_a_cold_rebuild(lineages, cold):
    for seed, (lineage, weights) in enumerate(zip(lineages, cold, strict=True)):
        generator = np.random.Generator(np.random.Philox(seed))
        # Room for none to five individuals, so that nearly everybody is evicted on the way.
        decoder = lineage.decoder(int(generator.integers(0, 6)) * weights.nbytes)
        ids = [birth.id for birth in lineage.births]
        if seed % 2:
            generator.shuffle(ids)
        for place, birth in enumerate(ids):
            decoder.decode(birth)
            if place % 5 == 4:
                decoder.pin(generator.choice(ids, 2, replace=False).tolist())
        assert np.array_equal(decoder.decode(lineage.tip).weights, weights)
        assert decoder.decode(lineage.tip).log_sigma.tolist() == [lineage.births[-1].log_sigma]


@pytest.mark.slow
def test_another_process_decodes_the_same_bits(lineages, cold, tmp_path: Path):
    file = tmp_path / "lineages.json"
    file.write_text(json.dumps([lineage.to_json() for lineage in lineages]))
    command = [sys.executable, random_lineages.__file__, str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.split() == [digest(weights) for weights in cold]


@pytest.mark.slow
def test_a_checkpoint_carries_the_same_bits(lineages, cold, tmp_path: Path):
    content = [
        {
            "founders": lineage.founders.to_dict(),
            "births": to_rows(lineage.births),
            "distribution": lineage.distribution,
            # A keyframe: an ancestor's weights, from which the rest is decoded.
            "keyframe": lineage.births[len(lineage.births) // 2].id,
            "weights": lineage.decoder().decode(lineage.births[len(lineage.births) // 2].id).weights,
        }
        for lineage in lineages
    ]
    pickle_format.dump({"lineages": content}, tmp_path / "checkpoint.pkl")
    for lineage, weights, saved in zip(
        lineages, cold, pickle_format.load(tmp_path / "checkpoint.pkl")["lineages"], strict=True
    ):
        founders, births = Founders.from_dict(saved["founders"]), from_rows(saved["births"])
        assert births == lineage.births
        decoder = decoder_of(founders, births, saved["distribution"], 2**20)
        assert np.array_equal(decoder.decode(lineage.tip).weights, weights)
        from_keyframe = decoder_of(founders, births, saved["distribution"], 2**20)
        keyframe = births[saved["keyframe"]]
        from_keyframe.insert(keyframe.id, Phenotype(saved["weights"], np.array([keyframe.log_sigma], dtype=np.int16)))
        assert np.array_equal(from_keyframe.decode(lineage.tip).weights, weights)


@pytest.mark.slow
def test_threads_decode_the_same_bits(lineages):
    with ThreadPoolExecutor(4) as pool:
        for lineage in lineages[:60]:
            decoder, alone = lineage.decoder(2000), lineage.decoder()
            ids = [birth.id for birth in lineage.births] * 3
            for birth, found in zip(ids, pool.map(decoder.decode, ids), strict=True):
                assert np.array_equal(found.weights, alone.decode(birth).weights)


def test_golden_lineages_never_change(lineages, cold):
    # Pinned from by_arithmetic. If this fails, every genome that was ever saved means another network.
    assert [digest(weights) for weights in cold[:4]] == GOLDEN
    assert [lineage.distribution for lineage in lineages[:16:4]] == list(random_lineages.LAWS)
    assert cold[0][:5].tolist() == GOLDEN_WEIGHTS


GOLDEN = [
    "5d635868ff73e5a2251815b64dfa0e9114d751ac15d4dc74d3edd182f8455375",
    "d6787bf545f94ea5452fdf58e03ec4a98b30f5fd1a38bd7b2e0a469f9986439a",
    "d51f884d47358f2fbe4e76b7b8e10d9cd2b0cf2eb60e5432d1b1400fc7e87bc8",
    "782107c200805beaf151248e9a0ee28281bbc5e20a41e43c9a8ffc17e0fc5739",
]
GOLDEN_WEIGHTS = [31289061, -17347666, -11321861, -18740223, -41777106]
