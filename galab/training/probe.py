"""A probe of a machine's arithmetic: the scores of one fixed chunk, as a digest.

Two machines with the same torch may take other kernels, by the maker and the model of their processors, and sum in
another order. Their numeric profiles can be equal then; the digests are not.
"""

from __future__ import annotations

import hashlib

from torch import nn

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.contracts import Task
from galab.evaluation.executors.pool_worker import score_bytes
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.training.build import build
from galab.training.search import SharedByTrials, SharedSearch


def computes_exactly(config: RunConfig) -> bool:
    """Whether scores are the same on every machine: those of whole numbers are."""
    return kind_of(config.strategy).name == "integer"


def probe_digest(
    config: RunConfig,
    module: nn.Module,
    task: Task,
    founders: Founders,
    law: Table,
    shared: SharedByTrials | None = None,
) -> str:
    """SHA-256 of the scores that the first members of generation 1 get here.

    They are proposed by a search of their own, so a run that is at another generation has the same digest.

    Args:
        config: resolved.
        module: the network.
        task: with its data.
        founders: the recipe for generation 0.
        law: the table of the noise's distribution.
        shared: what is built here and serves another search too.
    """
    search = build(config, module, task, law=law, founders=founders, shared=shared).search
    assert isinstance(search, SharedSearch)
    search.initial_records()
    part = search.executor.parts(search.strategy.ask())[0]
    (scores,) = search.executor.scored([part])
    return hashlib.sha256(score_bytes(scores)).hexdigest()
