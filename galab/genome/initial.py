"""Founders: individuals without parents, drawn from stored laws or made of given weights.

The laws follow torch's own initialisation of each layer kind. Linear and convolution layers: uniform on
+-1/sqrt(fan in), weights and biases alike (what ``kaiming_uniform_`` with a = sqrt(5) comes to; He et al. 2015).
Embeddings: standard normal. A layer of galab's own may say so in ``drawn_by``, name to law and standard deviation.
Every other parameter, norm weights among them, keeps the value that the module came with.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.config.spelling import OptionError
from galab.contracts import Member
from galab.errors import CheckpointError, UsageError
from galab.genome.births import Birth
from galab.genome.domain import REAL, Domain
from galab.genome.parameters import evolved_parameters, frozen_values
from galab.genome.random import Stream, below, draw, table
from galab.genome.weights import Layout, step

#: The laws of a tensor whose values are stored instead of drawn, and of one of whole or binary weights: each number
#: that is allowed, with equal odds.
GIVEN, EVEN = "given", "even"
_FAN_IN_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class TensorLaw:
    """How the founders' values of one parameter tensor come about.

    Attributes:
        name: the parameter's name in the module.
        shape: its shape.
        law: a distribution of ``random.py``, ``"given"`` or ``"even"``.
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
        frozen: name to the values of a parameter that is not evolved, the same for all individuals.
        domain: the numbers that a weight may be.
    """

    run_key: int
    laws: tuple[TensorLaw, ...]
    given: NDArray[np.int32]
    frozen: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    domain: Domain = REAL

    @property
    def layout(self) -> Layout:
        """Names and shapes of the tensors."""
        return Layout(tuple(law.name for law in self.laws), tuple(law.shape for law in self.laws), self.domain)

    def decode(self, birth: Birth) -> NDArray[np.int32]:
        """(D,) the weights of a birth without parents."""
        layout = self.layout
        weights = np.empty(layout.size, dtype=np.int32)
        given = self.given[birth.id % len(self.given)] if self.given.size else self.given
        taken = 0
        # One draw covers the whole vector, so a tensor's noise depends only on its place, not on its neighbours' laws.
        noise = {
            law: draw(table(law), self.run_key, birth.id, Stream.FOUNDER, layout.size)
            for law in dict.fromkeys(law.law for law in self.laws if law.law not in (GIVEN, EVEN))
        }
        if any(law.law == EVEN for law in self.laws):
            even = _even(self.domain, self.run_key, birth.id, layout.size)
        for law, start, size in zip(self.laws, layout.starts, layout.sizes, strict=True):
            part = slice(start, start + size)
            if law.law == GIVEN:
                weights[part] = given[taken : taken + size]
                taken += size
            elif law.law == EVEN:
                weights[part] = even[part]
            else:
                alone = Layout((law.name,), (law.shape,), self.domain)
                peak = table(law.law).peak
                weights[part] = step(noise[law.law][part], np.float32(law.scale), peak, alone, birth.id)
        return self.domain.inside(weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``founders.pkl`` and exported genomes."""
        laws = [[law.name, list(law.shape), law.law, law.scale] for law in self.laws]
        frozen = {"frozen": dict(self.frozen)} if self.frozen else {}
        return {"run_key": self.run_key, "laws": laws, "given": self.given, "sha256": self.sha256, **frozen}

    @classmethod
    def from_dict(cls, values: dict[str, Any], domain: Domain = REAL) -> Founders:
        """The recipe from plain data, and the numbers that the run's configuration allows.

        Raises:
            CheckpointError: the stored hash does not fit the stored values.
        """
        given = np.asarray(values["given"], dtype=np.int32)
        founders = cls.of_laws(values["run_key"], values["laws"], given, values.get("frozen"), domain)
        if founders.sha256 != values["sha256"]:
            raise CheckpointError(
                f"expected founders with hash {values['sha256'][:12]}, got {founders.sha256[:12]}: the file was "
                "changed; restore it from a copy"
            )
        return founders

    @classmethod
    def of_laws(
        cls,
        run_key: int,
        laws: list[list[Any]],
        given: NDArray[np.int32],
        frozen: Mapping[str, NDArray[Any]] | None = None,
        domain: Domain = REAL,
    ) -> Founders:
        """The recipe from plain rows ``[name, shape, law, scale]``."""
        parsed = tuple(TensorLaw(name, tuple(shape), law, scale) for name, shape, law, scale in laws)
        return cls(run_key, parsed, given, frozen or {}, domain)

    @property
    def sha256(self) -> str:
        """Hash of everything that decides what a founder is (hex)."""
        described = repr((self.run_key, [(law.name, law.shape, law.law, law.scale.hex()) for law in self.laws]))
        tables = "".join(table(law.law).sha256 for law in self.laws if law.law not in (GIVEN, EVEN))
        header = f"{described}{tables}{self.given.shape}{self.domain.written}".encode()
        digest = hashlib.sha256(header + self.given.astype("<i4").tobytes())
        if self.frozen:
            digest.update(frozen_hash(self.frozen).encode())
        return digest.hexdigest()


def _even(domain: Domain, run_key: int, birth: int, size: int) -> NDArray[np.int32]:
    """(size,) whole or binary weights, each number that is allowed with equal odds; without bounds -1, 0 or 1."""
    low, high = (-1, 1) if domain.low is None or domain.high is None else (domain.low, domain.high)
    step = high - low if domain.genome == "binary" else 1
    drawn = low + step * below((high - low) // step + 1, run_key, birth, Stream.FOUNDER, size)
    return drawn.astype(np.int32)


def frozen_hash(values: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hex) of the names, types, shapes and bytes of frozen parameters."""
    digest = hashlib.sha256()
    for name, array in values.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def founders_of(module: nn.Module, run_key: int, domain: Domain = REAL) -> Founders:
    """Founders drawn as torch would initialise this module; tied parameters are one tensor, frozen ones stay.

    Whole and binary weights have the law ``even`` instead.

    Raises:
        UsageError: a value that the module came with is none of the numbers that a weight may be.
    """
    drawn = _drawn_laws(module)
    if domain.genome != "real":
        drawn = dict.fromkeys(drawn, (EVEN, 0.0))
    laws, given = [], [np.empty(0, dtype=np.int32)]
    for name, parameter in evolved_parameters(module).items():
        law, scale = drawn.get(id(parameter), (GIVEN, 0.0))
        laws.append(TensorLaw(name, tuple(parameter.shape), law, scale))
        if law == GIVEN:
            given.append(_fixed_point(name, parameter, domain))
    return Founders(run_key, tuple(laws), np.concatenate(given)[None], frozen_values(module), domain)


def founders_given(
    module: nn.Module, state: Mapping[str, torch.Tensor], run_key: int, domain: Domain = REAL
) -> Founders:
    """Founders that all have the weights of a ``state_dict``.

    Raises:
        UsageError: a parameter is missing, has another shape, or holds what is none of the numbers allowed.
    """
    return founders_fixed(module, weights_in(module, state, domain)[None], run_key, domain)


def like_torchs_own(module: nn.Module) -> bool:
    """Whether a module's weights may be those that torch gives its layers: False where they lie outside of the law.

    Of uniform weights the largest and the spread are compared, of normal ones the spread, so that torch's own never
    count as others (eight standard errors).
    """
    drawn, zeros = _drawn_laws(module), _zeroed_by_torch(module)
    for parameter in evolved_parameters(module).values():
        law, scale = drawn.get(id(parameter), (GIVEN, 0.0))
        values = parameter.detach().double()
        if not bool(values.isfinite().all()):
            return False
        if law == GIVEN or not values.numel() or id(parameter) in zeros:
            continue
        if values.numel() > 1 and bool((values == values.flatten()[0]).all()):
            return False  # all alike, which no draw is
        if law == "uniform" and float(values.abs().max()) > scale * math.sqrt(3) * (1 + 1e-5):
            return False
        # The standard error of a standard deviation of n values: s sqrt((kurtosis - 1) / 4 n); 1.8 uniform, 3 normal.
        error = math.sqrt((0.8 if law == "uniform" else 2.0) / (4 * values.numel()))
        spread = float(values.square().mean().sqrt()) / scale
        if abs(spread - 1) > 8 * error:
            return False
    return True


def drawn_names(module: nn.Module) -> list[str]:
    """The evolved parameters of layers for which torch has a law."""
    drawn, zeros = _drawn_laws(module), _zeroed_by_torch(module)
    return [
        name
        for name, parameter in evolved_parameters(module).items()
        if id(parameter) in drawn and id(parameter) not in zeros
    ]


def _zeroed_by_torch(module: nn.Module) -> set[int]:
    """Parameters that torch itself sets to 0, wholly or in part: biases after attention, a table with a padding row."""
    found: set[int] = set()
    for layer in module.modules():
        if isinstance(layer, nn.MultiheadAttention) and layer.out_proj.bias is not None:
            found.add(id(layer.out_proj.bias))
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            found.add(id(layer.weight))
    return found


def weights_in(
    module: nn.Module, state: Mapping[str, torch.Tensor], domain: Domain = REAL
) -> NDArray[np.int32]:
    """(D,) the evolved weights in a ``state_dict``, in units of 2^-bits.

    Raises:
        UsageError: a parameter is missing, has another shape, or holds what is none of the numbers allowed.
    """
    given = []
    for name, parameter in evolved_parameters(module).items():
        if name not in state:
            few = ", ".join(list(state)[:8]) + (", ..." if len(state) > 8 else "")
            raise UsageError(f"expected the parameter '{name}' among the given weights, got {few:.300}")
        if state[name].shape != parameter.shape:
            raise UsageError(
                f"expected the given weights of '{name}' to have shape {tuple(parameter.shape)}, "
                f"got {tuple(state[name].shape)}; choose the model that they were trained with"
            )
        given.append(_fixed_point(name, state[name], domain))
    return np.concatenate(given)


def founders_fixed(
    module: nn.Module, weights: NDArray[np.int32], run_key: int, domain: Domain = REAL
) -> Founders:
    """Founders that are given individuals.

    Args:
        module: the network, for the names and shapes.
        weights: (F, D) int32 in units of 2^-bits; founder i is row i mod F.
        run_key: the run's key.
        domain: the numbers that a weight may be.
    """
    laws = tuple(TensorLaw(name, tuple(value.shape), GIVEN) for name, value in evolved_parameters(module).items())
    return Founders(run_key, laws, weights, frozen_values(module), domain)


def tensors_of(layout: Layout, member: Member) -> dict[str, torch.Tensor]:
    """A network's parameters by name, float32."""
    parts = layout.split(member.floats())
    return {name: torch.from_numpy(part.copy()) for name, part in parts.items()}


def _drawn_laws(module: nn.Module) -> dict[int, tuple[str, float]]:
    """Law and standard deviation of every parameter whose layer kind has a rule, by the parameter's identity."""
    laws: dict[int, tuple[str, float]] = {}
    for layer in module.modules():
        if isinstance(layer, nn.Embedding):
            laws.setdefault(id(layer.weight), ("normal", 1.0))
        elif isinstance(layer, _FAN_IN_LAYERS):
            fan_in = math.prod(layer.weight.shape[1:])
            if not fan_in or not layer.weight.numel():
                continue  # torch draws nothing either
            # Uniform on +-b has variance b^2 / 3; the scale is stored as the float32 that decoding multiplies by.
            scale = float(np.float32(math.sqrt(1 / (3 * fan_in))))
            laws.setdefault(id(layer.weight), ("uniform", scale))
            if layer.bias is not None:
                laws.setdefault(id(layer.bias), ("uniform", scale))
        for name, (law, scale) in getattr(layer, "drawn_by", {}).items():
            laws.setdefault(id(getattr(layer, name)), (law, scale))
    return laws


def _fixed_point(name: str, values: torch.Tensor, domain: Domain) -> NDArray[np.int32]:
    try:
        return domain.units(values.detach().cpu().double().numpy().ravel())
    except OptionError as error:
        raise error.within(f"parameter '{name}'") from None
    except UsageError as error:
        raise UsageError(f"parameter '{name}': {error}") from None
