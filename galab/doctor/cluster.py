"""What the nodes of a Ray cluster are: versions, cores, the way to them, and the last bits of their arithmetic."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from galab.config import RunConfig
from galab.evaluation.executors.ray_workers import connect, import_ray, signals_kept
from galab.genome.random import table
from galab.training.build import network_and_task
from galab.training.initial_weights import initial_founders
from galab.training.probe import probe_digest
from galab.training.resolve import resolve
from galab.version import __version__

#: Bytes that are sent to a node to measure the way to it.
_BYTES = 64 << 20
#: Round trips of which the median is taken.
_TRIPS = 10
#: What every node scores; it needs no data.
_PROBE: dict[str, Any] = {
    "task": "memorize(points=256)", "hidden": "64,64", "children": 32, "chunk": 16, "seed": 0, "threads": 1,
    "device": "cpu", "precision": "float32", "compile": "off", "batch": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node of a cluster.

    Attributes:
        node: its name, and the beginning of its number in Ray.
        cpus: cores that Ray may use.
        gpus: likewise.
        memory_gb: that Ray may use.
        galab: its version there; empty where it could not be asked.
        python: likewise.
        torch: likewise.
        processor: what torch says that it can.
        digest: the beginning of the digest of its scores; equal ones are equal bits.
        round_trip_ms: median of an empty call.
        mb_per_second: of the way to it.
        problem: what is wrong with it; empty if nothing is.
    """

    node: str
    cpus: float
    gpus: float
    memory_gb: float
    galab: str = ""
    python: str = ""
    torch: str = ""
    processor: str = ""
    digest: str = ""
    round_trip_ms: float | None = None
    mb_per_second: float | None = None
    problem: str = ""


def machine_facts() -> dict[str, str]:
    """Versions and the digest of this machine: the scores that it gives the same few networks as every other."""
    config = resolve(RunConfig(**_PROBE))
    module, task = network_and_task(config, check=False)
    founders, law = initial_founders(config, module, lambda seed: module), table(config.distribution)
    return {
        "galab": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "digest": probe_digest(config, module, task, founders, law)[:12],
    }


def look_at_cluster(address: str) -> list[NodeReport]:
    """Each node, the one that this process is on first.

    Args:
        address: ``local``, ``auto`` or HOST:PORT.

    Raises:
        UsageError: Ray is not installed, or there is no such cluster.
    """
    ray = import_ray()
    connect(ray, address, os.cpu_count() or 1)
    try:
        here = ray.get_runtime_context().get_node_id()
        alive = [node for node in ray.nodes() if node["Alive"]]
        content = ray.put(np.zeros(_BYTES, dtype=np.uint8))
        return [_report(ray, node, content) for node in sorted(alive, key=lambda node: node["NodeID"] != here)]
    finally:
        with signals_kept():
            ray.shutdown()


def _report(ray: Any, node: dict[str, Any], content: Any) -> NodeReport:
    """One node, asked by tasks that run nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    has = node["Resources"]
    base = NodeReport(
        f"{node['NodeManagerHostname']} {node['NodeID'][:6]}", has.get("CPU", 0.0), has.get("GPU", 0.0),
        round(has.get("memory", 0.0) / 1e9, 1),
    )  # fmt: skip

    def ask(function: Any, *arguments: Any) -> Any:
        remote = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(function)
        return ray.get(remote.remote(*arguments), timeout=120)

    try:
        facts = ask(machine_facts)
        trips = []
        for _ in range(_TRIPS):
            began = time.perf_counter()
            ask(_nothing, None)
            trips.append(time.perf_counter() - began)
        began = time.perf_counter()
        ask(_nothing, content)
        seconds = max(time.perf_counter() - began - statistics.median(trips), 1e-9)
    except ray.exceptions.RayError as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return NodeReport(**asdict(base) | {"problem": f"does not answer: {why:.200}"})
    way = {"round_trip_ms": round(statistics.median(trips) * 1e3, 2), "mb_per_second": round(_BYTES / 1e6 / seconds)}
    return NodeReport(**asdict(base) | facts | way)


def _nothing(content: Any) -> None:
    """Take something and do nothing with it."""


def verdicts(nodes: list[NodeReport]) -> list[str]:
    """What the reports mean for a run, in sentences."""
    here, said = next((node for node in nodes if not node.problem), nodes[0]), []
    for node in nodes:
        different = [
            f"{name} {getattr(node, name)} in place of {getattr(here, name)}"
            for name in ("galab", "python", "torch")
            if not node.problem and getattr(node, name) != getattr(here, name)
        ]
        if node.problem:
            said.append(f"{node.node} {node.problem}; look at its raylet, and whether galab is installed there")
        elif different:
            said.append(f"{node.node} has {', '.join(different)}: install the same there")
        elif node.digest != here.digest:
            said.append(
                f"{node.node} scores other last bits than this machine: its workers are refused unless a run is "
                "resumed with --allow-numeric-change"
            )
    if said:
        return said
    return [f"{'all nodes compute' if len(nodes) > 1 else 'the node computes'} the same bits as this machine"]
