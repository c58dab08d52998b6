"""Replaying a run from its founders and comparing with every checkpoint: the proof that seeds are enough.

Computing the steps of a gradient descent again, from the founders and the data, and comparing with every keyframe.

No seed and no log of scores is enough for that: a gradient is made of the data, so the task and the network are
needed, and it takes as long as the run did.
"""

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

from galab.config.fields import RunConfig
from galab.config.strategy_kinds import is_evolution, is_gradients
from galab.errors import CheckpointError, GalabError, LethalMutationError
from galab.evaluation.numeric_profile import differences
from galab.genome.births import Birth
from galab.genome.develop import Developer, fixed, folded
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.genome.weights import Phenotype
from galab.saved_runs.es_replay import CentreVerdict, centres_conclusion, compared, meaning, verify_centres, words
from galab.storage import checkpoints
from galab.storage.lineage import read_rows
from galab.storage.run_folder import SCORES, RunFolder
from galab.strategies.build_operators import developer
from galab.training import origin
from galab.training import trust as trust_rules
from galab.training.build import Experiment, build, network_and_task, own_threads, profile_of
from galab.training.checkpoint import (
    births_dtype,
    check_data,
    check_layout,
    config_of,
    layout_of,
    load_buffers,
    load_founders,
)
from galab.training.gradient_search import GradientSearch
from galab.training.individuals import lineage_of, members_of
from galab.training.start import on_this_machine
from galab.training.trust import OPERATORS, check


@own_threads()
def verify_steps(folder: RunFolder, present: Sequence[tuple[int, Path]], *, trust: bool) -> list[CentreVerdict]:
    """Compute a run's steps again and compare with its keyframes.

    Args:
        folder: the run.
        present: its checkpoints, oldest first; at least one.
        trust: run code of the user's own that it names even if nobody here has run it before.

    Raises:
        CheckpointError: a checkpoint or the founders are damaged, or the data is not the run's.
        UsageError: the task or the network is code that is not trusted.
    """
    state = checkpoints.load_checked(present[0][1])
    first = config_of(state, present[0][1])
    experiment, search = _begun(folder, state, first, trust=trust)
    founders = experiment.founders
    rows = read_rows(folder.path / SCORES, search.record_dtype)
    verdicts, profile, going = [], dict[str, None](), True
    for generation, path in present:
        state = checkpoints.load_checked(path)
        profile |= dict.fromkeys(differences(state["numeric_profile"], profile_of(experiment)))
        count = state["lineage"]["births"]
        whole = hashlib.sha256(rows[:count].tobytes()).hexdigest() == state["lineage"]["sha256"]
        going = going and _go_to(experiment, search, rows[:count])
        centre = np.asarray(state["weights"], dtype=np.float32)[0]
        identical, difference = compared(centre, search.strategy.centre if going else None)
        same = words(search.strategy.state_dict()) == words(state["strategy"]) and state["founders"] == founders.sha256
        same = same and not meaning(config_of(state, path), first)
        verdicts.append(
            CentreVerdict(
                path, generation, centre.size, identical, difference, same, whole, tuple(profile), source="data"
            )
        )
    return verdicts


@own_threads()
def centres_again(
    folder: RunFolder, state: dict[str, Any], config: RunConfig, *, last: int, trust: bool
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The centre of each generation from 0 to the last that is asked for, as far as the log goes.

    Args:
        folder: the run.
        state: one of its checkpoints.
        config: the configuration in it.
        last: the last generation that is wanted.
        trust: run code of the user's own that it names even if nobody here has run it before.

    Yields:
        (generation, (D,) a copy of the centre).
    """
    experiment, search = _begun(folder, state, config, trust=trust)
    rows = read_rows(folder.path / SCORES, search.record_dtype)
    for generation in range(min(last, len(rows)) + 1):
        if not _go_to(experiment, search, rows[:generation]):
            return
        yield generation, np.array(search.strategy.centre)


def _begun(
    folder: RunFolder, state: dict[str, Any], saved: RunConfig, *, trust: bool
) -> tuple[Experiment, GradientSearch]:
    """A run at its founders, as it is computed on this machine."""
    trust_rules.check(saved, trust=trust)
    config = on_this_machine(saved, allow=True)
    module, task = network_and_task(config)
    check_data(task, state, str(folder.path))
    check_layout(layout_of(state), module, str(folder.path))
    load_buffers(module, state["buffers"])
    experiment = build(config, module, task, founders=load_founders(folder.founders_path))
    search = experiment.search
    assert isinstance(search, GradientSearch)
    return experiment, search


def _go_to(experiment: Experiment, search: GradientSearch, rows: NDArray[np.void]) -> bool:
    """Make the steps of these rows that are not made yet; whether that was possible."""
    strategy = search.strategy
    for row in rows[strategy.generation :]:
        strategy.planned = int(row["planned"]) or None
        try:
            strategy.tell(experiment.executor.score(strategy.ask()))
        except GalabError as error:
            logger.warning("the steps could not be computed again: %s", error)
            return False
    return strategy.generation == len(rows)


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
    law = origin.resolve(config.distribution, folder)
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
