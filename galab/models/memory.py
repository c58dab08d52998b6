"""A bank of memories: every head holds a vector and the logits of a class, and the nearest one answers.

The laboratory's own architecture for learning by heart. A variant is a subclass that says how vectors lie
(:meth:`Memory.lying`), how near they are (:meth:`Memory.rows`), or what they answer (:meth:`Memory.answers`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from galab.errors import UsageError
from galab.genome.random import Stream, below, draw, table

#: Parameter that holds the vectors, by how they may lie; operators tell from its name what they have to keep.
GEOMETRY = {"sphere": "memories", "free": "free_memories", "normalised": "free_memories", "torus": "angles"}
ANSWERS = ("nearest", "soft")
CLOSENESS = ("dot", "distance")
BANKS = ("empty", "random")
#: Nearness of an empty memory: further away than any filled one.
_NEVER = -1e4
#: Logit of the class that a random bank's memory stands for.
LOGIT = 4.0


class Memory(nn.Module):
    """Answers with the class of the memory that is nearest to the input.

    Inputs are flattened and scaled to length 1. A memory whose numbers are all 0 is *empty* and never answers while
    another is filled.

    Args:
        input_shape: shape of one input.
        outputs: number of classes.
        run_key: key of the projection and of a random bank.
        heads: number of memories.
        norm: ``sphere``, vectors of length 1, which the operators of ``galab.operators.mutation.memory`` keep;
            ``free``, vectors anywhere; ``normalised``, the same, scaled to length 1 before they are compared;
            ``torus``, angles whose cosines and sines are the vector.
        closeness: ``dot``, the inner product, so that longer vectors win more; ``distance``, minus the squared
            Euclidean distance. On sphere and torus both have the same order.
        answer: ``nearest``, the class logits of the nearest; ``soft``, the mean of all, weighted by the softmax of
            sharpness x nearness.
        sharpness: of ``soft``.
        project: numbers that inputs are projected onto at first, at random; 0 takes them as they are.
        bank: ``empty`` or ``random``: what the founders remember.
        plastic: whether heads have a plasticity by which ``heads=plasticity`` of an operator chooses, in octaves.

    Raises:
        UsageError: a word or number that is not understood.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        run_key: int = 0,
        heads: int = 64,
        norm: str = "sphere",
        closeness: str = "dot",
        answer: str = "nearest",
        sharpness: float = 16.0,
        project: int = 0,
        bank: str = "empty",
        plastic: bool = False,
    ) -> None:
        super().__init__()
        self.norm = _one_of("norm", norm, tuple(GEOMETRY))
        self.closeness = _one_of("closeness", closeness, CLOSENESS)
        self.answer = _one_of("answer", answer, ANSWERS)
        self.sharpness = float(sharpness)
        self.heads = _whole("heads", heads, 1, 65_536)
        size = math.prod(input_shape)
        dims = _whole("project", project, 0, 65_536) or size
        if norm == "torus" and dims % 2:
            raise UsageError(f"expected an even number of inputs with norm=torus, got {dims}; use project=128, say")
        if project:
            # Stored with 16 bits each, so that every machine projects onto the same directions.
            drawn = draw(table("normal"), run_key, 0, Stream.FOUNDER, dims * size).reshape(dims, size)
            self.register_buffer("projection", torch.from_numpy(drawn / np.float32(math.sqrt(size))))
        else:
            self.projection = None
        vectors = torch.zeros(heads, dims // 2 if norm == "torus" else dims)
        classes = torch.zeros(heads, outputs)
        if _one_of("bank", bank, BANKS) == "random":
            vectors, classes = _random_bank(run_key, norm, vectors, classes)
        self.name = GEOMETRY[norm]
        self.register_parameter(self.name, nn.Parameter(vectors))
        self.classes = nn.Parameter(classes)
        if plastic:
            self.plasticity = nn.Parameter(torch.zeros(heads))
        #: Whether the answer carries two more columns: how near the nearest memory was, and its number.
        self.reports_usage = False

    @property
    def stored(self) -> Tensor:
        """(heads, width) what is evolved of the vectors."""
        value: Tensor = getattr(self, self.name)
        return value

    def vectors(self) -> Tensor:
        """The memories (heads, dims), as inputs are compared with them."""
        return self.lying(self.stored)

    def lying(self, stored: Tensor) -> Tensor:
        """Vectors (n, dims) from what is stored of them, (n, width)."""
        if self.norm == "normalised":
            return nn.functional.normalize(stored, dim=1)
        if self.norm == "torus":
            on_circles = torch.cat([stored.cos(), stored.sin()], dim=1) / math.sqrt(stored.shape[1])
            return on_circles * stored.any(1, keepdim=True)
        return stored

    def shown(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) as memories are compared with them: (B, dims), of length 1."""
        flat = inputs.flatten(1)
        if self.projection is not None:
            flat = flat @ self.projection.T
        return nn.functional.normalize(flat, dim=1)

    def nearness(self, inputs: Tensor) -> Tensor:
        """How near each memory is to each input: (B, heads), minus infinity for empty ones."""
        near = self.rows(self.stored, self.shown(inputs)).T
        return near.masked_fill(near <= _NEVER / 2, -math.inf)

    def rows(self, stored: Tensor, shown: Tensor) -> Tensor:
        """How near memories are to inputs, each row by itself, with a number that a softmax can take for empty ones.

        Args:
            stored: (n, width) of any n memories.
            shown: (B, dims) as :meth:`shown` gives them.

        Returns:
            (n, B).
        """
        vectors = self.lying(stored)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        # One term for each memory, added once: passes over all of it are what this costs.
        offset = torch.where(lengths > 0, 0.0, _NEVER)
        # In this order the vectors of many networks are one matrix, and the largest is sought along memory.
        near = vectors @ shown.T
        if self.closeness == "distance":
            near, offset = 2 * near, offset - 1 - lengths.square()
        return near.add_(offset[:, None])

    def answers(self, near: Tensor, head: Tensor, classes: Tensor) -> Tensor:
        """The logits alone.

        Args:
            near: (..., heads, B) how near memories are.
            head: (..., B) the number of the nearest.
            classes: (..., heads, outputs) their class logits.

        Returns:
            (..., B, outputs).
        """
        if self.answer == "soft":
            return (self.sharpness * near).softmax(-2).mT @ classes
        return classes.take_along_dim(head[..., None], dim=-2)

    def reply(self, near: Tensor, classes: Tensor) -> Tensor:
        """What memories answer, of one network or of many.

        Args:
            near: (..., heads, B) as :meth:`rows` gives it.
            classes: (..., heads, outputs) their class logits.

        Returns:
            (..., B, outputs) logits; see :attr:`reports_usage` for more.
        """
        top, head = near.max(-2)
        logits = self.answers(near, head, classes)
        if not self.reports_usage:
            return logits
        # A bank without any memory is as far away as can be on the sphere.
        empty = top <= _NEVER / 2
        top, head = torch.where(empty, -1.0, top), torch.where(empty, -1, head)
        return torch.cat([logits.float(), top.float()[..., None], head.float()[..., None]], dim=-1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, outputs) of inputs (B, ...); see :attr:`reports_usage` for more."""
        return self.reply(self.rows(self.stored, self.shown(inputs)), self.classes)


def _random_bank(run_key: int, norm: str, vectors: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Every head with a random direction and a random class."""
    heads, width = vectors.shape
    law = table("uniform" if norm == "torus" else "normal")
    drawn = torch.from_numpy(draw(law, run_key, 1, Stream.FOUNDER, heads * width).reshape(heads, width).copy())
    # A uniform table has the variance 1, so its ends lie at sqrt(3).
    vectors = drawn * (math.pi / math.sqrt(3)) if norm == "torus" else nn.functional.normalize(drawn.double(), dim=1)
    chosen = below(classes.shape[1], run_key, 2, Stream.FOUNDER, heads)
    classes[torch.arange(heads), torch.from_numpy(chosen)] = LOGIT
    return vectors.float(), classes


def _one_of(name: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise UsageError(f"model 'memory': expected {name} to be one of {', '.join(known)}, got {given!r}; correct it")
    return given


def _whole(name: str, given: int, low: int, high: int) -> int:
    if not isinstance(given, int) or not low <= given <= high:
        raise UsageError(
            f"model 'memory': expected {name} to be a whole number from {low} to {high}, got {given!r}; correct it"
        )
    return given
