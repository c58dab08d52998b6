"""Random small populations with any crossover, operators, granularity and step-size rule that go together.

As a program (``python random_populations.py SEED...``) it decodes the populations of some seeds in a process of its
own.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galab.config.registry import CROSSOVERS, MUTATIONS, STEP_SIZE_RULES
from galab.config.traits import CONTROLS, MEMORY_OPERATORS, depends_on_parent
from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.develop import Developer
from galab.genome.initial import GIVEN, Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import table
from galab.genome.step_sizes import GRANULARITIES, Steps
from galab.genome.weights import Phenotype

LAWS = (
    TensorLaw("a.weight", (3, 4), "uniform", 0.25),
    TensorLaw("a.bias", (3,), "uniform", 0.25),
    TensorLaw("norm.weight", (4,), GIVEN),
    TensorLaw("b.weight", (2, 2, 2), "normal", 0.5),
    TensorLaw("scale", (), GIVEN),
    TensorLaw("c.weight", (2, 2), "laplace", 0.5),
)
#: A bank of memories, one of which may be empty.
BANK = (
    TensorLaw("bank.memories", (3, 4), GIVEN),
    TensorLaw("bank.classes", (3, 2), "uniform", 0.5),
    TensorLaw("bank.plasticity", (3,), GIVEN),
)
RULES = [name for name in STEP_SIZE_RULES.names() if name not in CONTROLS]


@dataclass
class Population:
    """A history: everybody who was ever born, and who lived on after each generation."""

    founders: Founders
    crossover: str
    ways: int
    steps: Steps
    mutations: list[str]
    rule: str
    inherit: str
    births: list[Birth] = field(default_factory=list)
    parents: list[list[int]] = field(default_factory=list)

    def developer(self, gene_bytes: int = 2**20) -> Developer:
        """Somebody who has developed nobody yet."""
        key = self.founders.run_key
        return Developer(
            self.founders,
            self.steps,
            [MUTATIONS.load(name)(key, table("normal")) for name in self.mutations],
            crossover=None if self.crossover == "none" else CROSSOVERS.load(self.crossover)(key),
            rule=None if self.steps.granularity == "global" else STEP_SIZE_RULES.load(self.rule)(key, None),
            inherit=self.inherit,
            gene_bytes=gene_bytes,
        )

    def decoder(self, cache_bytes: int = 0, gene_bytes: int = 2**20) -> Decoder:
        """A decoder that has never decoded anything."""
        return Decoder(self.developer(gene_bytes), Pedigree(self.births), cache_bytes=cache_bytes)

    def everybody(self) -> dict[int, Phenotype]:
        """Everybody, developed in order of birth without any cache or folding."""
        found: dict[int, Phenotype] = {}
        for birth in self.births:
            found[birth.id] = self.developer().develop(birth, [found[parent] for parent in birth.parents])
        return found

    def generation(self, number: int) -> list[Birth]:
        """Those born in a generation."""
        return [birth for birth in self.births if birth.generation == number]


def allowed_granularities(crossover: str) -> list[str]:
    """A gene keeps its step sizes, and one per weight would be as large as the network."""
    return [name for name in GRANULARITIES if not (crossover.startswith("genes-") and name == "parameter")]


def random_population(seed: int, crossover: str | None = None, granularity: str | None = None) -> Population:
    """A population of up to four parents and seven children over six generations."""
    rng = np.random.Generator(np.random.Philox(seed))
    crossover = crossover or str(rng.choice(CROSSOVERS.names()))
    granularity = granularity or str(rng.choice(allowed_granularities(crossover)))
    genetic = crossover.startswith("genes-")
    operators = [
        name
        for name in MUTATIONS.names()
        if name != "flip"  # of binary genomes alone
        and not (name == "low-rank" and granularity == "parameter")
        and not (genetic and depends_on_parent(name))
        and not (crossover != "none" and name == "momentum")
    ]
    given = rng.integers(-(2**24), 2**24, (1 if genetic else 3, 20)).astype(np.int32)
    given[0, 9:13] = 0
    founders = Founders(int(rng.integers(0, 2**63)), LAWS + BANK, given)
    layout = founders.layout
    bounded = granularity != "global" and rng.random() < 0.3
    population = Population(
        founders,
        crossover,
        1 if crossover == "none" else 2 if crossover == "blend" else int(rng.integers(2, 5)),
        Steps(
            layout,
            granularity,
            factors=[-256, 0, 100, 0, 50, 0, 20, 0, 0] if rng.random() < 0.3 else None,
            frozen=[n for n, shape in enumerate(layout.shapes) if len(shape) < 2] if rng.random() < 0.3 else (),
            low=-3000,
            high=-200,
            relative=(-2000, -300) if bounded else (None, None),
        ),
        [str(name) for name in rng.permutation(operators)[: int(rng.integers(1, 4))]],
        str(rng.choice(RULES)),
        str(rng.choice(["weights", "mean"])),
    )
    _breed(population, rng, genetic)
    return population


def _breed(population: Population, rng: np.random.Generator, genetic: bool) -> None:
    count, is_global = int(rng.integers(2, 5)), population.steps.granularity == "global"
    for number in range(count):
        clone = (0,) if number and genetic else ()
        population.births.append(Birth(number, clone, 0, 0, -1445, 0, 0))
    parents = list(range(count))
    population.parents.append(parents)
    for generation in range(1, 7):
        children = []
        for number in range(len(population.births), len(population.births) + int(rng.integers(3, 8))):
            ways = population.ways if rng.random() < 0.8 else 1
            family = tuple(rng.choice(parents, ways).tolist())
            log_sigma = int(rng.integers(-2500, -500)) if is_global else 0
            operator = int(rng.integers(1, len(population.mutations) + 1))
            memory = population.mutations[operator - 1] in MEMORY_OPERATORS
            head = int(rng.integers(0, 4)) if memory else 0
            children.append(Birth(number, family, generation, head, log_sigma, int(ways > 1), operator))
        population.births += children
        # Elites may live for many generations, and their relatives die at once.
        pool = [child.id for child in children] + parents
        parents = sorted(rng.permutation(pool)[:count].tolist())
        population.parents.append(parents)


def digest(member: Phenotype) -> str:
    """A short hash of all that an individual is."""
    velocity = b"" if member.velocity is None else member.velocity.astype("<i4").tobytes()
    content = member.weights.astype("<i4").tobytes() + member.log_sigma.astype("<i2").tobytes() + velocity
    return hashlib.sha256(content).hexdigest()[:16]


def digests(members: Iterable[tuple[int, Phenotype]]) -> dict[int, Any]:
    """Hashes by birth."""
    return {birth: digest(member) for birth, member in members}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        each = random_population(int(argument))
        print(digest(each.decoder().decode(each.births[-1].id)))  # noqa: T201
