"""Computing the steps of a gradient descent again, from the founders and the data, and comparing with every keyframe.

No seed and no log of scores is enough for that: a gradient is made of the data, so the task and the network are
needed, and it takes as long as the run did.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.errors import GalabError
from galab.evaluation.profile import differences
from galab.lab import trust as trust_rules
from galab.lab.experiment import Experiment, build, network_and_task, own_threads, profile_of
from galab.lab.gradient_search import GradientSearch
from galab.lab.replay import CentreVerdict, compared, meaning, words
from galab.lab.resume_rules import on_this_machine
from galab.lab.state import SCORES, check_data, check_layout, config_of, layout_of, load_buffers, load_founders
from galab.store import checkpoints
from galab.store.lineage_file import read_rows
from galab.store.run_folder import RunFolder

logger = logging.getLogger("galab")


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
