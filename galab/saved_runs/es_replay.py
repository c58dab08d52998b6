"""Replaying an evolution strategy: its seed and its scores are enough to rebuild the whole training.

No task, no data and no network are needed: the centre's start is in the founders, the noise in the seed, what
directions are made of in the checkpoints, and what came of them in the score log.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.fields import RunConfig
from galab.contracts import Scores
from galab.doctor.tuning import SETTINGS
from galab.errors import CheckpointError, GalabError
from galab.evaluation.numeric_profile import differences, numeric_profile, prepare_device, settle_kernels
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.operators.es_noise import plan_of_ranks
from galab.storage import checkpoints
from galab.storage.run_folder import SCORES, RunFolder
from galab.strategies.evolution import EvolutionStrategy, record_dtype
from galab.training import origin
from galab.training.build import own_threads
from galab.training.checkpoint import config_of, load_founders
from galab.training.evolution_search import directions_for, start_of

logger = logging.getLogger("galab")


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
        source: what the centre follows from besides the seed: the scores, or of a descent along gradients the data.
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


def centres_conclusion(verdicts: Sequence[CentreVerdict]) -> str:
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


@own_threads()
def verify_centres(folder: RunFolder, present: Sequence[tuple[int, Path]]) -> list[CentreVerdict]:
    """Replay a run's scores and compare with its keyframes.

    Args:
        folder: the run.
        present: its checkpoints, oldest first; at least one.

    Raises:
        CheckpointError: a checkpoint, the founders or the quantile table are damaged, or the score log is missing.
    """
    founders = load_founders(folder.founders_path)
    replay: Replay | None = None
    verdicts = []
    profile: dict[str, None] = {}
    for generation, path in present:
        state = checkpoints.load_checked(path)
        config = config_of(state, path)
        if replay is None:
            replay = Replay(folder.path / SCORES, config, founders, origin.resolve(config.distribution, folder), state)
        # What was computed differently once is different ever after.
        profile |= dict.fromkeys(differences(state["numeric_profile"], replay.profile(state["numeric_profile"])))
        whole = replay.go_to(state["lineage"])
        centre = np.asarray(state["weights"], dtype=np.float32)[0]
        identical, difference = compared(centre, replay.centre)
        same = replay.state == words([state["strategy"], state["ranks"]]) and not meaning(config, replay.config)
        same = same and state["founders"] == founders.sha256
        verdicts.append(
            CentreVerdict(path, generation, centre.size, identical, difference, same, whole, tuple(profile))
        )
    return verdicts


class Replay:
    """A strategy that is told the scores of a log.

    Args:
        path: the score log.
        config: the run's configuration.
        founders: where the centre begins.
        law: the table of the noise's distribution.
        state: any checkpoint of the run.

    Raises:
        CheckpointError: there is no score log, or the checkpoint says nothing possible of the directions.
    """

    def __init__(self, path: Path, config: RunConfig, founders: Founders, law: Table, state: dict[str, Any]) -> None:
        self.config = config
        self._device = "cuda" if config.device == "cuda" and torch.cuda.is_available() else "cpu"
        settle_kernels()
        prepare_device(self._device)
        torch.set_num_threads(config.threads)
        device = torch.device(self._device)
        try:
            plan = plan_of_ranks(founders.layout, state["ranks"])
            self._content = memoryview(path.read_bytes())
        except (KeyError, ValueError, GalabError) as error:
            raise CheckpointError(f"expected the ranks of the run's noise in its checkpoint, got: {error}") from error
        except OSError as error:
            raise CheckpointError(f"expected a score log at '{path}', got '{error.strerror or error}'") from error
        directions = directions_for(config, plan, law, founders.run_key, device)
        self._ranks = plan.ranks
        self._strategy = EvolutionStrategy(config, founders.layout, start_of(founders), directions, device)
        self._row = record_dtype(config.population)
        self._hash = hashlib.sha256()
        self._at = 0
        self._going = True

    @property
    def centre(self) -> NDArray[np.float32] | None:
        """(D,) where the replay is; None where it could not go on."""
        return self._strategy.centre if self._going else None

    @property
    def state(self) -> Any:
        """Comparable: the strategy's state, and what its directions are made of."""
        return words([self._strategy.state_dict(), self._ranks]) if self._going else None

    def profile(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The numeric profile of the replay; how members were evaluated is as saved, because none is."""
        evaluated = {name: saved.get(name) for name in ("precision", "chunk", "forward", "block", "compiled")}
        return numeric_profile(device=self._device, threads=self.config.threads, **evaluated)  # type: ignore[arg-type]

    def centres(self, *, last: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The centre of each generation from 0 to the last that is asked for, as far as the log goes.

        Yields:
            (generation, (D,) a copy of the centre).
        """
        for generation in range(last + 1):
            if generation and not self._next():
                return
            if not self._going:
                return
            yield generation, np.array(self._strategy.centre)

    def go_to(self, records: dict[str, Any]) -> bool:
        """Hear the scores up to a checkpoint.

        Args:
            records: rows and hash of the score log that the checkpoint counted on.

        Returns:
            Whether the log still has them.
        """
        while self._at < records["births"] and self._next():
            pass
        if self._at < records["births"] and self._going:
            logger.warning("the score log ends after %d of %d generations", self._at, records["births"])
            self._going = False
        return self._hash.hexdigest() == str(records["sha256"])

    def _next(self) -> bool:
        """Hear the next row of the log; whether there was one."""
        part = self._content[self._at * self._row.itemsize : (self._at + 1) * self._row.itemsize]
        if len(part) < self._row.itemsize:
            return False
        self._hash.update(part)
        self._at += 1
        if self._going:
            self._hear(np.frombuffer(part, self._row)[0])
        return True

    def _hear(self, row: Any) -> None:
        self._strategy.planned = int(row["planned"]) or None
        try:
            if self._strategy.ask().generation != row["generation"]:
                raise GalabError(f"expected generation {self._strategy.generation + 1}, got {row['generation']}")
            self._strategy.tell(Scores(row["fitness"].astype(np.float64)))
        except GalabError as error:
            # A row that nobody ever wrote: another generation's, or one in which all members failed.
            logger.warning("the replay ended at a row of the score log that cannot be: %s", error)
            self._going = False


def compared(saved: NDArray[np.float32], replayed: NDArray[np.float32] | None) -> tuple[int, float | None]:
    """How many weights are identical to the bit, and the largest difference."""
    if replayed is None or saved.shape != replayed.shape:
        return 0, None
    difference = float(np.abs(saved.astype(np.float64) - replayed).max(initial=0.0))
    same = np.count_nonzero(np.ascontiguousarray(saved).view("<u4") == np.ascontiguousarray(replayed).view("<u4"))
    return int(same), difference if math.isfinite(difference) else None


def meaning(config: RunConfig, first: RunConfig) -> set[str]:
    """Hyperparameters that two checkpoints of a run must have in common, and have not."""
    fields = RunConfig.__dataclass_fields__
    # A run may move to a CPU, or be tuned, with --allow-numeric-change; the profile tells.
    changed = {name for name in first.changed(config) if not fields[name].metadata["changeable"]}
    return changed - {"device", *SETTINGS}


def words(value: Any) -> Any:
    """Plain data in which numbers are compared to their last bit, NaN too."""
    if isinstance(value, dict):
        return {name: words(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [words(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value.hex() if isinstance(value, float) else value
