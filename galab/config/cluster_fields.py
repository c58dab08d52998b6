"""Hyperparameters of workers in a Ray cluster, and of what workers cost."""

from __future__ import annotations

from dataclasses import dataclass

from galab.config.language_fields import LanguageFields
from galab.config.option import option

#: Heading of the help.
CLUSTER = "Workers in a cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFields(LanguageFields):  # one after the other, as classes with slots cannot stand side by side
    """See :class:`galab.config.fields.Fields`."""

    executor: str = option(
        "processes", "Where the --workers run: processes of this machine, or a Ray cluster (extra 'cluster').",
        choices=("processes", "ray"), group=CLUSTER, advanced=True, changeable=True,
    )
    address: str | None = option(
        None, "The Ray cluster: local, the default, starts one for this run; auto finds one that runs; or HOST:PORT of "
        "its head.", group=CLUSTER, advanced=True, changeable=True,
    )
    worker_cpus: float | None = option(
        None, "Cores that Ray keeps for each worker, 1 when absent; it has as many threads unless told.", above=0.0,
        high=1024, group=CLUSTER, advanced=True, changeable=True,
    )
    worker_gpus: float | None = option(
        None, "GPUs of each worker.", low=0.0, high=1024, group=CLUSTER, advanced=True, changeable=True
    )
    price_per_hour: float | None = option(
        None, "What a worker costs in an hour; the log adds it up.", low=0.0, group=CLUSTER, advanced=True,
        changeable=True,
    )
