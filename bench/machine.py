"""The machine that is measured on: what it is, which of its cores are used, and what it cannot do."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from peers import clock

#: Why a row in bfloat16 is left empty.
NO_BFLOAT16 = "no bfloat16 units"


def use_clock(kind: str) -> None:
    """Measure in ``wall`` or ``processor`` time, here and in the peers' process."""
    os.environ[clock.VARIABLE] = kind


def use_cores(count: int | None) -> int:
    """Give this process and those that it starts the last ``count`` of its cores; all when None.

    To be called before torch is imported: its pool of threads, and that of JAX in the peers' process, are as large as
    the set of cores that a process may use.

    Returns:
        The number of cores in use.
    """
    cores = sorted(os.sched_getaffinity(0))
    if count is not None:
        if not 1 <= count <= len(cores):
            raise SystemExit(f"expected --cores from 1 to {len(cores)}, got {count}")
        os.sched_setaffinity(0, cores[-count:])
        os.environ["OMP_NUM_THREADS"] = str(count)
    return count or len(cores)


def has_bfloat16() -> bool:
    """Whether the processor has matrix units for bfloat16; without them it is emulated and slower than float32."""
    from galab.evaluation.numeric_profile import resolve_precision

    return resolve_precision("auto", "cpu") == "bfloat16"


def precisions() -> tuple[str, ...]:
    """Those worth measuring here."""
    return ("float32", "bfloat16") if has_bfloat16() else ("float32",)


def described(cores: int) -> dict[str, Any]:
    """The machine as plain data; ``summary`` is for people."""
    import torch

    units = "with" if has_bfloat16() else "without"
    capability, version = torch.backends.cpu.get_cpu_capability(), str(torch.__version__)
    name = _processor()
    kind = os.environ.get(clock.VARIABLE, "wall")
    summary = f"{name} ({capability}, {units} bfloat16 units), {cores} core{'s' * (cores > 1)}, torch {version}"
    return {
        "summary": f"{summary}, {kind} time",
        "clock": kind,
        "processor": name,
        "cpu_capability": capability,
        "bfloat16_units": has_bfloat16(),
        "cores": cores,
        "torch": version,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0].replace("(R)", "") if names else platform.machine()
