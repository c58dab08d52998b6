"""Random lineages of small networks, and what they decode to by plain arithmetic.

As a program (``python random_lineages.py FILE``) it decodes the lineages in a JSON file in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.develop import Developer
from galab.genome.initial import GIVEN, Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import table as built_in
from galab.genome.step_sizes import Steps
from galab.operators.mutation.dense import Dense

LAWS = ("normal", "laplace", "uniform", "sign")


@dataclass(frozen=True)
class Lineage:
    founders: Founders
    births: list[Birth]
    distribution: str
    tip: int

    def decoder(self, cache_bytes: int = 0) -> Decoder:
        """A decoder that has never decoded anything."""
        return decoder_of(self.founders, self.births, self.distribution, cache_bytes)

    def to_json(self) -> dict[str, Any]:
        recipe = self.founders.to_dict()
        recipe["given"] = recipe["given"].tolist()
        return {"founders": recipe, "births": self.births, "distribution": self.distribution, "tip": self.tip}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Lineage:
        births = [Birth(row[0], tuple(row[1]), *row[2:]) for row in values["births"]]
        return cls(Founders.from_dict(values["founders"]), births, values["distribution"], values["tip"])


def decoder_of(founders: Founders, births: list[Birth], distribution: str, cache_bytes: int = 0) -> Decoder:
    dense = Dense(founders.run_key, built_in(distribution))
    return Decoder(Developer(founders, Steps(founders.layout), [dense]), Pedigree(births), cache_bytes=cache_bytes)


def random_lineage(seed: int) -> Lineage:
    """A random tree over 40 to 200 weights, with random step sizes; its youngest individual is the tip."""
    generator = np.random.Generator(np.random.Philox(seed))
    width = int(generator.integers(4, 21))
    laws = (
        TensorLaw("first.weight", (width, 7), "uniform", float(np.float32(0.2))),
        TensorLaw("norm.weight", (width,), GIVEN),
        TensorLaw("table", (2, 4), "normal", 1.0),
        TensorLaw("bias", (), LAWS[seed % 4], 0.5),
    )
    given = generator.integers(-(2**25), 2**25, (int(generator.integers(1, 4)), width)).astype(np.int32)
    run_key = int(generator.integers(0, 2**63))
    founders = int(generator.integers(1, 4))
    sizes = generator.integers(-18 * 256, 256, 40).tolist()
    births = [Birth(number, (), 0, 0, sizes[number], 0, 0) for number in range(founders)]
    for number in range(founders, int(generator.integers(founders + 2, 31))):
        # Mostly among the youngest, so that lineages are long.
        parent = max(0, number - int(generator.geometric(0.4)))
        births.append(Birth(number, (parent,), births[parent].generation + 1, 0, sizes[number], 0, 1))
    return Lineage(Founders(run_key, laws, given), births, LAWS[seed // 4 % 4], births[-1].id)


def table(law: str) -> NDArray[np.float32]:
    return np.frombuffer(resources.files("galab.genome").joinpath("tables", f"{law}.f32").read_bytes(), dtype="<f4")


def noise(law: str, run_key: int, birth: int, stream: int, n: int) -> NDArray[np.float32]:
    raw = np.random.Philox(key=[run_key, stream], counter=[0, 0, birth, 0]).random_raw(-(-n // 4))
    return table(law)[raw.astype("<u8").view("<u2")[:n]]


def by_arithmetic(lineage: Lineage) -> NDArray[np.int32]:
    """The tip's weights from the design's formulas, with nothing of galab but its tables."""
    rows = {birth.id: birth for birth in lineage.births}
    recipe, birth = lineage.founders, rows[lineage.tip]
    n = sum(int(np.prod(law.shape)) for law in recipe.laws)
    total = np.zeros(n, dtype=np.int64)
    while birth.parents:
        sigma = np.float32(2.0 ** (birth.log_sigma / 256))
        z = noise(lineage.distribution, recipe.run_key, birth.id, 2, n)
        total += np.rint(sigma * z * np.float32(2**24)).astype(np.int64)
        birth = rows[birth.parents[0]]
    at = taken = 0
    for law in recipe.laws:
        size = int(np.prod(law.shape))
        if law.law == GIVEN:
            total[at : at + size] += recipe.given[birth.id % len(recipe.given), taken : taken + size]
            taken += size
        else:
            z = noise(law.law, recipe.run_key, birth.id, 1, n)[at : at + size]
            total[at : at + size] += np.rint(np.float32(law.scale) * z * np.float32(2**24)).astype(np.int64)
        at += size
    return total.astype(np.int32)


def digest(weights: NDArray[np.int32]) -> str:
    return hashlib.sha256(weights.astype("<i4").tobytes()).hexdigest()


if __name__ == "__main__":
    for values in json.loads(Path(sys.argv[1]).read_text()):
        each = Lineage.from_json(values)
        print(digest(each.decoder().decode(each.tip).weights))  # noqa: T201
