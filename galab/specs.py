"""The small languages of the command line, read into values.

A fitness is ``[improvement:|inherited:]BASE[,BASE...]``: ``accuracy``, ``wrong,cross-entropy``, ``improvement:wrong``;
a base may be a sum, ``wrong+0.1*closeness``.
A mix of mutations is ``NAME[(option=value, ...)][:SHARE][,...]``, a schedule ``GENERATION:SIGMA[,...]``.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from galab.calls import Call, parse_call, split_outside
from galab.errors import UsageError, closest

#: What a member can be scored by; larger is better in each.
BASES = (
    "cross-entropy", "accuracy", "wrong", "expected-accuracy", "sampled-accuracy", "tilldeath", "loss", "closeness",
    "used", "unused", "gradient-cosine",
)  # fmt: skip
#: Minus a mean loss, and so differentiable where the loss is.
SMOOTH = ("cross-entropy", "loss")
#: Those of single examples, by which lexicase selection can go.
PER_EXAMPLE = ("cross-entropy", "accuracy", "wrong", "expected-accuracy", "sampled-accuracy", "tilldeath")
#: Those that a bank of memories is asked about itself, whatever the task.
INTRINSIC = ("closeness", "used", "unused")
#: That of a child's direction, for which gradients are computed.
DIRECTIONAL = ("gradient-cosine",)
#: Scores that are made of a member's own and its parents'.
RELATIVE = ("improvement", "inherited")


@dataclass(frozen=True, slots=True)
class FitnessSpec:
    """What ranks the members of a generation.

    Attributes:
        kind: ``absolute``, a member's own score; ``improvement``, its score minus the mean of its parents' on the same
            examples; ``inherited``, its score mixed with its parents'.
        bases: names out of :data:`BASES`, or sums of them such as ``wrong+0.1*closeness`` (:func:`terms`); the first
            ranks, and each further one those that are equal so far.
    """

    kind: str
    bases: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that occurs, once."""
        return tuple(dict.fromkeys(name for base in self.bases for _, name in terms(base)))


@lru_cache(maxsize=64)
def terms(base: str) -> tuple[tuple[float, str], ...]:
    """A base as weights and names: ``wrong+0.1*closeness`` is 1 x wrong and 0.1 x closeness.

    Raises:
        UsageError: a weight is no finite number.
    """
    found = []
    for part in re.split(r"(?<![eE])\+", base):  # 1e+3 is a number
        weight, star, name = (text.strip() for text in part.rpartition("*"))
        try:
            found.append((float(weight) if star else 1.0, name))
        except ValueError:
            found.append((math.nan, name))
        if not math.isfinite(found[-1][0]):
            raise UsageError(f"expected a number before the * in --fitness, such as wrong+0.1*closeness, got '{part}'")
    return tuple(found)


def parse_fitness(text: str) -> FitnessSpec:
    """``"improvement:wrong,cross-entropy"`` as a value; a kind alone is that kind of ``cross-entropy``.

    Raises:
        UsageError: a kind or base that is unknown, absent or named twice.
    """
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon:
        kind, rest = (kind, BASES[0]) if kind in RELATIVE else ("absolute", kind)
    elif kind not in RELATIVE:
        raise UsageError(
            f"expected --fitness KIND:BASE with a kind of {' or '.join(RELATIVE)}, got '{kind}'."
            f"{closest(kind, list(RELATIVE))}"
        )
    bases = tuple(part.strip() for part in rest.split(","))
    # A bare kind is a word that can be misspelt too, where it could stand.
    known = [*BASES, *RELATIVE] if not colon and len(bases) == 1 else list(BASES)
    for place, base in enumerate(bases):
        for _, name in terms(base):
            if name not in BASES:
                raise UsageError(
                    f"expected --fitness to be made of {', '.join(BASES)}, got '{name}'.{closest(name, known)}"
                )
        if base in bases[:place]:
            raise UsageError(f"expected --fitness to name a base once, got '{base}' twice; leave out the second")
    spec = FitnessSpec(kind, bases)
    if kind != "absolute" and (found := set(spec.names) & set(DIRECTIONAL)):
        raise UsageError(
            f"expected --fitness {kind}: of a score that parents have too, got {found.pop()}, which is a child's step "
            "from its parents already; leave out the kind"
        )
    return spec


def parse_mutations(text: str) -> list[tuple[Call, float]]:
    """Operators with their shares, which sum to 1: ``dense:0.8,layer:0.2``; without shares all are equal.

    A name with a colon of its own, such as ``mine.py:Jump``, keeps it: a share is a number after the last colon. The
    same operator may come again with other arguments: ``weights(count=1):0.8,weights(count=9):0.2``.

    Raises:
        UsageError: a name is missing or twice, arguments cannot be read, or a share is no positive number.
    """
    found: list[tuple[str, float | None]] = []
    for part in split_outside(text, ","):
        name, colon, share = part.rpartition(":")
        try:
            entry = (name, float(share)) if colon else (part, None)
        except ValueError:
            entry = (part, None)  # a reference to the user's own code
        found.append(entry)
    calls = [parse_call(name, "the mutation") for name, _ in found]
    shares = [share for _, share in found]
    given = [share for share in shares if share is not None]
    bad = any(not call.name for call in calls) or any(not (math.isfinite(share) and share > 0) for share in given)
    if bad or (given and len(given) < len(found)) or len(set(map(str, calls))) < len(calls):
        raise UsageError(
            f"expected --mutate as one operator, or as several different ones with positive shares such as "
            f"dense:0.8,layer:0.2, got '{text}'"
        )
    total = sum(given)
    return [(call, 1 / len(found) if one is None else one / total) for call, one in zip(calls, shares, strict=True)]


def labels(calls: Sequence[Call]) -> list[str]:
    """A name for each operator of a mix, in the log: the second ``weights`` is ``weights-2``."""
    seen: Counter[str] = Counter()
    found = []
    for call in calls:
        seen[call.name] += 1
        found.append(call.name if seen[call.name] == 1 else f"{call.name}-{seen[call.name]}")
    return found


def parse_schedule(text: str) -> tuple[tuple[int, float], ...]:
    """Points ``GENERATION:SIGMA`` separated by commas, in order of generations.

    Raises:
        UsageError: a point is malformed, out of order or has a step size that is not positive.
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        points = tuple((int(generation), float(value)) for generation, value in pairs)
    except ValueError:
        points = ()
    rising = all(first[0] < second[0] for first, second in itertools.pairwise(points))
    if not points or not rising or not all(generation >= 0 and 2**-24 <= value <= 8 for generation, value in points):
        raise UsageError(
            "expected --sigma-schedule as points GENERATION:SIGMA in order, such as 0:0.02,1000:0.002, with step sizes "
            f"between 2^-24 and 8, got '{text}'"
        )
    return points


def parse_factors(text: str) -> tuple[float, ...]:
    """Positive factors separated by commas, one for each layer.

    Raises:
        UsageError: a factor is no number between 1/1024 and 1024.
    """
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        factors = ()
    if not factors or not all(2**-10 <= factor <= 2**10 for factor in factors):
        raise UsageError(f"expected --sigma-factors as numbers between 1/1024 and 1024 such as 1,0.5, got '{text}'")
    return factors


def hidden_sizes(text: str | None) -> tuple[int, ...] | None:
    """``"256,128"`` as ``(256, 128)``; an empty text is no hidden layer, None stays None.

    Raises:
        UsageError: a part is not a whole number of at least 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise UsageError(f"expected --hidden as whole numbers separated by commas, such as 256,128, got '{text}'")
    return tuple(int(part) for part in parts)
