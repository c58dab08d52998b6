"""Replaying a run from its founders and comparing with every checkpoint: the proof that seeds are enough."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.errors import CheckpointError, LethalMutationError
from galab.evolution_compatibility import is_evolution, is_gradients
from galab.genome.births import Birth
from galab.genome.develop import Developer
from galab.genome.founders import Founders
from galab.genome.genes import fixed, folded
from galab.genome.noise import Table
from galab.genome.phenotype import Phenotype
from galab.lab import tables
from galab.lab.members import lineage_of, members_of
from galab.lab.operators import developer
from galab.lab.recompute import verify_steps
from galab.lab.replay import CentreVerdict, centres_conclusion, verify_centres
from galab.lab.state import births_dtype, config_of, load_founders
from galab.lab.trust import OPERATORS, check
from galab.store import checkpoints
from galab.store.lineage_file import read_rows
from galab.store.run_folder import RunFolder

logger = logging.getLogger("galab")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One checkpoint against the replay.

    Attributes:
        path: the checkpoint.
        generation: its generation.
        members: parents in it.
        identical: how many of them the replay gives bit for bit.
        lineage: whether the lineage file still begins with the rows that the checkpoint counted on.
    """

    path: Path
    generation: int
    members: int
    identical: int
    lineage: bool

    @property
    def good(self) -> bool:
        """Whether everything agrees."""
        return self.lineage and self.identical == self.members

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        return {
            "checkpoint": self.path.name,
            "generation": self.generation,
            "parents": self.members,
            "identical": self.identical,
            "lineage": "whole" if self.lineage else "changed",
        }


def verify(folder: RunFolder, *, trust: bool = False) -> list[Verdict] | list[CentreVerdict]:
    """Replay seeds, or the scores of an evolution strategy, or compute steps along gradients again, and compare.

    Args:
        folder: the run.
        trust: run code of the user's own that it names even if nobody here has run it before.

    Returns:
        One verdict per checkpoint, oldest first.

    Raises:
        CheckpointError: a checkpoint, the founders or the quantile table are damaged, or there is no checkpoint.
    """
    present = checkpoints.list_checkpoints(folder.checkpoints)
    if not present:
        raise CheckpointError(f"expected checkpoints in '{folder.checkpoints}', found none; resume the run first")
    first = present[0][1]
    config = config_of(checkpoints.load_checked(first), first)
    if is_evolution(config):
        return verify_centres(folder, present)
    if is_gradients(config):
        return verify_steps(folder, present, trust=trust)
    return _verify_births(folder, present, trust=trust)


def conclusion(verdicts: Sequence[Verdict | CentreVerdict]) -> str:
    """What the verdicts on a run come to, in one sentence."""
    centres = [verdict for verdict in verdicts if isinstance(verdict, CentreVerdict)]
    if centres:
        return centres_conclusion(centres)
    if all(verdict.good for verdict in verdicts):
        return "every checkpoint follows from its seeds"
    return "a checkpoint does not follow from its seeds"


def _verify_births(folder: RunFolder, present: list[tuple[int, Path]], *, trust: bool) -> list[Verdict]:
    """A genetic algorithm's run."""
    founders = load_founders(folder.founders_path)
    # Only ids and hashes of the keyframes are held, so verifying a long run needs no memory for its checkpoints.
    wanted: dict[int, str] = {}
    keyframes = []
    config: RunConfig | None = None
    rows: NDArray[np.void] | None = None
    for generation, path in present:
        state = checkpoints.load_checked(path)
        config = config_of(state, path)
        ids = [int(birth) for birth in state["strategy"]["births"]["id"]]
        hashes = {birth: _hash(member) for birth, member in zip(ids, members_of(state), strict=True)}
        wanted |= hashes
        rows = read_rows(folder.lineage_path, births_dtype(config)) if rows is None else rows
        count = state["lineage"]["births"]
        whole = hashlib.sha256(rows[:count].tobytes()).hexdigest() == state["lineage"]["sha256"]
        keyframes.append((path, generation, hashes, whole))
    assert config is not None and rows is not None
    check(config, trust=trust, names=OPERATORS)
    law = tables.resolve(config.distribution, folder)
    replayed = {}
    try:
        with np.errstate(over="raise"):
            for birth, member in replay(founders, config, law, rows, list(wanted)):
                replayed[birth] = _hash(member)
    except (LethalMutationError, LookupError, ValueError, ArithmeticError) as error:
        # Rows that nobody ever bred: a parent that is not there, an operator without a number, a huge step.
        logger.warning("the replay ended at a row of '%s' that cannot be: %r", folder.lineage_path, error)
    return [
        Verdict(path, generation, len(hashes), sum(replayed.get(birth) == was for birth, was in hashes.items()), whole)
        for path, generation, hashes, whole in keyframes
    ]


def replay(
    founders: Founders, config: RunConfig, law: Table, rows: NDArray[np.void], ids: list[int]
) -> Iterator[tuple[int, Phenotype]]:
    """Decode individuals from seeds alone, oldest first, each ancestor once.

    Args:
        founders: the recipe for generation 0.
        config: names the operators.
        law: the table of its distribution.
        rows: the lineage file.
        ids: whom to decode.

    Yields:
        (birth, phenotype) for each of ``ids`` that the lineage knows.
    """
    births = lineage_of(rows, ids)
    yield from develop_all(developer(config, founders, law), births, set(ids))


def develop_all(births_by: Developer, births: list[Birth], wanted: set[int]) -> Iterator[tuple[int, Phenotype]]:
    """Develop births in order, forgetting each individual after its last child."""
    children = Counter(parent for birth in births for parent in birth.parents)
    living: dict[int, Phenotype] = {}
    generation = 0
    for birth in births:
        if births_by.genetic and birth.generation > generation:
            # Everybody to come descends from the living, so what they all carry need not be listed.
            generation, common = birth.generation, fixed(living.values())
            living = {number: folded(member, common) for number, member in living.items()}
        member = births_by.develop(birth, [living[parent] for parent in birth.parents])
        for parent in birth.parents:
            children[parent] -= 1
            if not children[parent]:
                del living[parent]
        if children[birth.id]:
            living[birth.id] = member
        if birth.id in wanted:
            yield birth.id, member


def _hash(member: Phenotype) -> str:
    """Of an individual's weights, step sizes and velocity; none and one of zeros are the same."""
    found = hashlib.sha256(np.ascontiguousarray(member.weights, dtype="<i4").tobytes())
    found.update(np.ascontiguousarray(member.log_sigma, dtype="<i2").tobytes())
    if member.velocity is not None and member.velocity.any():
        found.update(np.ascontiguousarray(member.velocity, dtype="<i4").tobytes())
    return found.hexdigest()
