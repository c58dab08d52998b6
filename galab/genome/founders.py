"""Founders: individuals without parents, drawn from stored laws or made of given weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError
from galab.genome.births import Birth
from galab.genome.layout import Layout
from galab.genome.noise import Stream, draw, table
from galab.genome.phenotype import step

#: The law of a tensor whose values are stored instead of drawn.
GIVEN = "given"


@dataclass(frozen=True, slots=True)
class TensorLaw:
    """How the founders' values of one parameter tensor come about.

    Attributes:
        name: the parameter's name in the module.
        shape: its shape.
        law: a distribution of ``noise.py``, or ``"given"``.
        scale: standard deviation of a drawn tensor, a float32 number.
    """

    name: str
    shape: tuple[int, ...]
    law: str
    scale: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Founders:
    """The recipe for every founder of a run.

    Attributes:
        run_key: the run's key.
        laws: one law per tensor, in the module's order.
        given: (F, G) int32: the stored values of all ``given`` tensors in order; founder i takes row i mod F.
    """

    run_key: int
    laws: tuple[TensorLaw, ...]
    given: NDArray[np.int32]

    @property
    def layout(self) -> Layout:
        """Names and shapes of the tensors."""
        return Layout(tuple(law.name for law in self.laws), tuple(law.shape for law in self.laws))

    def decode(self, birth: Birth) -> NDArray[np.int32]:
        """(D,) the weights of a birth without parents."""
        layout = self.layout
        weights = np.empty(layout.size, dtype=np.int32)
        given = self.given[birth.id % len(self.given)] if self.given.size else self.given
        taken = 0
        # One draw covers the whole vector, so a tensor's noise depends only on its place, not on its neighbours' laws.
        noise = {
            law: draw(table(law), self.run_key, birth.id, Stream.FOUNDER, layout.size)
            for law in dict.fromkeys(law.law for law in self.laws if law.law != GIVEN)
        }
        for law, start, size in zip(self.laws, layout.starts, layout.sizes, strict=True):
            part = slice(start, start + size)
            if law.law == GIVEN:
                weights[part] = given[taken : taken + size]
                taken += size
            else:
                alone = Layout((law.name,), (law.shape,))
                peak = table(law.law).peak
                weights[part] = step(noise[law.law][part], np.float32(law.scale), peak, alone, birth.id)
        return weights

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``founders.pkl`` and exported genomes."""
        laws = [[law.name, list(law.shape), law.law, law.scale] for law in self.laws]
        return {"run_key": self.run_key, "laws": laws, "given": self.given, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Founders:
        """The recipe from plain data.

        Raises:
            CheckpointError: the stored hash does not fit the stored values.
        """
        founders = cls.of_laws(values["run_key"], values["laws"], np.asarray(values["given"], dtype=np.int32))
        if founders.sha256 != values["sha256"]:
            raise CheckpointError(
                f"expected founders with hash {values['sha256'][:12]}, got {founders.sha256[:12]}: the file was "
                "changed; restore it from a copy"
            )
        return founders

    @classmethod
    def of_laws(cls, run_key: int, laws: list[list[Any]], given: NDArray[np.int32]) -> Founders:
        """The recipe from plain rows ``[name, shape, law, scale]``."""
        parsed = tuple(TensorLaw(name, tuple(shape), law, scale) for name, shape, law, scale in laws)
        return cls(run_key, parsed, given)

    @property
    def sha256(self) -> str:
        """Hash of everything that decides what a founder is (hex)."""
        described = repr((self.run_key, [(law.name, law.shape, law.law, law.scale.hex()) for law in self.laws]))
        tables = "".join(table(law.law).sha256 for law in self.laws if law.law != GIVEN)
        header = f"{described}{tables}{self.given.shape}".encode()
        return hashlib.sha256(header + self.given.astype("<i4").tobytes()).hexdigest()
