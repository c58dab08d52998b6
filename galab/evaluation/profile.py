"""The numeric profile: everything outside the genome that decides the last bits of a score."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from galab.errors import UsageError


def numeric_profile(
    *, device: str, precision: str, chunk: int, threads: int, forward: str, block: int,
    compiled: bool = False,
) -> dict[str, Any]:
    """The profile as plain data.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: of the fitness.
        chunk: members evaluated at once.
        threads: CPU threads.
        forward: how the members are run, see :mod:`galab.evaluation.population`.
        block: examples evaluated at once.
        compiled: whether the forward is compiled.
    """
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": f"{device} ({name})",
        "cpu_capability": torch.backends.cpu.get_cpu_capability() + (" AMX" if _has_amx() else ""),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "precision": precision,
        "chunk": chunk,
        "threads": threads,
        "forward": forward,
        "block": block,
        "compiled": compiled,
        **({"cuda": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"} if device == "cuda" else {}),
    }


def _has_amx() -> bool:
    """Whether oneDNN takes its matrix-tile kernels for bfloat16, which sum in another order."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def prepare_device(device: str) -> None:
    """Make float32 mean float32 on a GPU, and its kernels repeat."""
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def differences(saved: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What differs between two profiles, in words; empty when scores agree to the bit."""
    keys = dict.fromkeys([*saved, *here])
    return [f"{key} {saved.get(key)} -> {here.get(key)}" for key in keys if saved.get(key) != here.get(key)]


def resolve_device(name: str) -> str:
    """``auto`` as ``cuda`` or ``cpu``.

    Raises:
        UsageError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("expected a CUDA device for --device cuda, found none; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


def resolve_precision(name: str, device: str) -> str:
    """``auto`` as ``bfloat16`` where matrix units for it make it several times as fast, else as ``float32``.

    Without such units bfloat16 is emulated and slower than float32 (3.5 times, measured on an AVX-512 machine).

    Args:
        name: ``auto`` or a precision.
        device: ``cpu`` or ``cuda``.
    """
    if name != "auto":
        return name
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _has_amx()
    return "bfloat16" if fast else "float32"


def default_threads() -> int:
    """As many threads as torch would take on its own: one per core."""
    return torch.get_num_threads()
