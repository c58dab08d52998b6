"""Verifying a run: rebuild it from its founders and compare with every checkpoint.

Individuals of a genetic algorithm follow from their seeds, the centre of an evolution strategy from the seed and the
scores, that of a gradient descent from the data.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.strategy_kinds import kind_of, load_reference
from galab.errors import CheckpointError, LethalMutationError
from galab.evaluation.numeric_profile import differences
from galab.genome.develop import develop_all
from galab.genome.weights import Phenotype
from galab.saved_runs.centre_replay import CentreReplay
from galab.saved_runs.saved_run import SavedRun
from galab.storage import checkpoints
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.training.build import own_threads
from galab.training.checkpoint import births_dtype, lineage_of, members_of
from galab.training.checkpoint_schema import check_records
from galab.training.saved_state import load_state, meaning, newest

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


@dataclass(frozen=True, slots=True)
class CentreVerdict:
    """One checkpoint of an evolution strategy against the replay.

    Attributes:
        path: the checkpoint.
        generation: its generation.
        weights: weights of its centre.
        identical: how many of them the replay gives bit for bit.
        difference: the largest difference of a weight; None where the replay did not come so far.
        state: whether the state of the optimiser and of the pairing is the replay's to the bit, and the configuration
            and the founders those of the first checkpoint.
        scores: whether the score log still begins with the rows that the checkpoint counted on.
        profile: how this machine computes differently from the one that made the checkpoint, in words.
        source: what the centre follows from, apart from the seed: the scores, or the data in a descent along gradients.
    """

    path: Path
    generation: int
    weights: int
    identical: int
    difference: float | None
    state: bool
    scores: bool
    profile: tuple[str, ...]
    source: str = "scores"

    @property
    def good(self) -> bool:
        """Whether everything agrees."""
        return self.scores and self.state and self.identical == self.weights

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        return {
            "checkpoint": self.path.name,
            "generation": self.generation,
            "centre": "identical" if self.identical == self.weights else "differs",
            "weights": self.weights,
            "identical": self.identical,
            "difference": self.difference,
            "state": "identical" if self.state else "differs",
            "scores": "whole" if self.scores else "changed",
        }


@own_threads()
def verify(folder: RunFolder, *, trust: bool = False) -> list[Verdict] | list[CentreVerdict]:
    """Replay seeds, or the scores of an evolution strategy, or compute steps along gradients again, and compare.

    Args:
        folder: the run.
        trust: run code of the user's own that it names even if it was never run here before.

    Returns:
        One verdict per checkpoint, oldest first.

    Raises:
        CheckpointError: a checkpoint, the founders or the quantile table are damaged, a checkpoint does not fit its
            folder, or there is no checkpoint.
    """
    present = checkpoints.list_checkpoints(folder.checkpoints)
    if not present:
        raise CheckpointError(f"expected checkpoints in '{folder.checkpoints}', found none; resume the run first")
    keyframes = (SavedRun(load_state(path), folder, path, trust=trust) for _, path in present)
    first = next(keyframes)
    first.check_configuration()
    replay = kind_of(first.config.strategy).replay
    if replay:
        return _verify_centres(load_reference(replay)(first), chain([first], keyframes))
    return _verify_births(chain([first], keyframes))


def conclusion(verdicts: Sequence[Verdict | CentreVerdict]) -> str:
    """What the verdicts on a run come to, in one sentence."""
    centres = [verdict for verdict in verdicts if isinstance(verdict, CentreVerdict)]
    if centres:
        return _centres_conclusion(centres)
    if all(verdict.good for verdict in verdicts):
        return "every checkpoint follows from its seeds"
    return "a checkpoint does not follow from its seeds"


def _verify_births(keyframes: Iterable[SavedRun]) -> list[Verdict]:
    """A genetic algorithm's run."""
    # Only ids and hashes of the keyframes are held, so verifying a long run needs no memory for its checkpoints.
    wanted: dict[int, str] = {}
    found = []
    rows: NDArray[np.void] | None = None
    for saved in keyframes:
        saved.check_configuration()
        hashes = {birth: _hash(member) for birth, member in zip(saved.numbers, members_of(saved.state), strict=True)}
        wanted |= hashes
        if rows is None:
            most = load_state(newest(saved.home))["lineage"]["births"]
            rows = read_rows(saved.home.lineage_path, births_dtype(saved.config), most)
        records = saved.state["lineage"]
        counted = rows[: records["births"]]
        whole = hashlib.sha256(counted.tobytes()).hexdigest() == records["sha256"]
        if whole:
            check_records(saved.state, saved.config, counted, saved.path)
        found.append((saved.path, saved.generation, hashes, whole))
    assert rows is not None
    births_by, replayed = saved.developer, dict[int, str]()
    try:
        with np.errstate(over="raise"):
            for birth, member in develop_all(births_by, lineage_of(rows, list(wanted)), wanted.keys()):
                replayed[birth] = _hash(member)
    except (LethalMutationError, LookupError, ValueError, ArithmeticError) as error:
        # Rows that no run wrote: a parent that is not there, an operator without a number, a huge step.
        logger.warning("the replay ended at a row of '%s' that cannot be: %r", saved.home.lineage_path, error)
    return [
        Verdict(path, generation, len(hashes), sum(replayed.get(birth) == was for birth, was in hashes.items()), whole)
        for path, generation, hashes, whole in found
    ]


def _verify_centres(replay: CentreReplay, keyframes: Iterable[SavedRun]) -> list[CentreVerdict]:
    """A run that moves a centre."""
    first = replay.saved
    verdicts = []
    profile: dict[str, None] = {}
    for saved in keyframes:
        state = saved.state
        # What was computed differently once is different ever after.
        profile |= dict.fromkeys(differences(state["numeric_profile"], replay.profile(state["numeric_profile"])))
        whole = replay.go_to(state["lineage"])
        centre = np.asarray(state["weights"], dtype=np.float32)[0]
        identical, difference = _compared(centre, replay.centre)
        same = _same_state(state, replay.state) and state["founders"] == first.founders.sha256
        same = same and not meaning(saved.config, first.config)
        verdicts.append(
            CentreVerdict(
                saved.path, saved.generation, centre.size, identical, difference, same, whole, tuple(profile),
                source=replay.source,
            )
        )  # fmt: skip
    return verdicts


def _centres_conclusion(verdicts: Sequence[CentreVerdict]) -> str:
    """What the verdicts come to, in one sentence."""
    bad = [verdict for verdict in verdicts if not verdict.good]
    source = verdicts[0].source
    if not bad:
        return f"every checkpoint follows from the seed and the {source}"
    if all(verdict.profile and verdict.scores and verdict.difference is not None for verdict in bad):
        largest = max(verdict.difference or 0.0 for verdict in bad)
        return (
            "the replay ends at other bits, as it may under another numeric profile "
            f"({'; '.join(dict.fromkeys(word for verdict in bad for word in verdict.profile))}): weights differ by at "
            f"most {largest:.2g}; verify the run where it was made"
        )
    return f"a checkpoint does not follow from the seed and the {source}"


def _hash(member: Phenotype) -> str:
    """Of an individual's weights, step sizes and velocity; none and one of zeros are the same."""
    found = hashlib.sha256(np.ascontiguousarray(member.weights, dtype="<i4").tobytes())
    found.update(np.ascontiguousarray(member.log_sigma, dtype="<i2").tobytes())
    if member.velocity is not None and member.velocity.any():
        found.update(np.ascontiguousarray(member.velocity, dtype="<i4").tobytes())
    return found.hexdigest()


def _compared(saved: NDArray[np.float32], replayed: NDArray[np.float32] | None) -> tuple[int, float | None]:
    """How many weights are identical to the bit, and the largest difference."""
    if replayed is None or saved.shape != replayed.shape:
        return 0, None
    difference = float(np.abs(saved.astype(np.float64) - replayed).max(initial=0.0))
    same = np.count_nonzero(np.ascontiguousarray(saved).view("<u4") == np.ascontiguousarray(replayed).view("<u4"))
    return int(same), difference if math.isfinite(difference) else None


def _same_state(state: dict[str, Any], replayed: dict[str, Any] | None) -> bool:
    """Whether a checkpoint holds what the replay came to, to the last bit."""
    return replayed is not None and _words({name: state[name] for name in replayed}) == _words(replayed)


def _words(value: Any) -> Any:
    """Plain data in which numbers are compared to their last bit, NaN too."""
    if isinstance(value, dict):
        return {name: _words(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_words(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value.hex() if isinstance(value, float) else value
