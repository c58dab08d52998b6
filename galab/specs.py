"""The small languages of the command line, read into values.

A fitness is ``[improvement:|inherited:]BASE[,BASE...]``: ``accuracy``, ``wrong,cross-entropy``, ``improvement:wrong``.
"""

from __future__ import annotations

from dataclasses import dataclass

from galab.errors import UsageError, closest

#: What a member can be scored by; larger is better in each.
BASES = ("cross-entropy", "accuracy", "wrong", "expected-accuracy", "sampled-accuracy")
#: Scores that are made of a member's own and its parents'.
RELATIVE = ("improvement", "inherited")


@dataclass(frozen=True, slots=True)
class FitnessSpec:
    """What ranks the members of a generation.

    Attributes:
        kind: ``absolute``, a member's own score; ``improvement``, its score minus the mean of its parents' on the same
            examples; ``inherited``, its score mixed with its parents'.
        bases: names out of :data:`BASES`; the first ranks, and each further one those that are equal so far.
    """

    kind: str
    bases: tuple[str, ...]


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
        if base not in BASES:
            raise UsageError(
                f"expected --fitness to be made of {', '.join(BASES)}, got '{base}'.{closest(base, known)}"
            )
        if base in bases[:place]:
            raise UsageError(f"expected --fitness to name a base once, got '{base}' twice; leave out the second")
    return FitnessSpec(kind, bases)
