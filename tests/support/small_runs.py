"""Small, quick runs on the 8x8 digits: fixtures that a folder's conftest imports."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import merged

SMALL: dict[str, Any] = {
    "task": "digits", "hidden": "4", "batch": 32, "parents": 3, "children": 6, "seed": 5, "threads": 1,
    "generations": 5, "save_every": 2, "report_every": 2,
}  # fmt: skip

#: Two clouds of points; `measure` asks the function `verdict` which members fail.
CLOUDS = """
    import numpy as np
    import torch
    from galab.tasks import Classification

    class Clouds(Classification):
        def measure(self, outputs, targets):
            sums = super().measure(outputs, targets)
            sums["loss"] = verdict(outputs, sums["loss"])
            return sums

    def clouds() -> Classification:
        random = np.random.default_rng(0)
        side = random.integers(0, 2, 300)
        inputs = random.normal(0, 1, (300, 2)) + 3 * side[:, None]
        parts = [(inputs[a:b], side[a:b]) for a, b in ((0, 200), (200, 250), (250, 300))]
        return Clouds(name="clouds", train=parts[0], validation=parts[1], test=parts[2], classes=2)
"""


@pytest.fixture(autouse=True)
def quick(no_waiting_for_the_disk: None, images_read_once: None, forked_processes: None) -> None:
    """All tests that use these write run folders."""


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Hyperparameters of a run that takes a tenth of a second; a fresh dict each time it is merged."""
    return SMALL


@pytest.fixture
def evolve(tmp_path: Path) -> Callable[..., Path]:
    """Makes a small run: ``evolve("name", children=9)`` is its folder."""
    from galab.config.run_config import RunConfig
    from galab.training.start_or_resume import start

    def make(name: str = "first", *, hooks: Any = (), **changes: Any) -> Path:
        start(RunConfig(**merged(SMALL, changes)), name=name, runs=tmp_path, hooks=hooks)
        return tmp_path / name

    return make


@pytest.fixture
def clouds(tmp_path: Path) -> Callable[[str], str]:
    """Writes a task file; its argument is the body of ``verdict(outputs, loss)``, which gives the losses."""

    def write(verdict: str) -> str:
        path = tmp_path / "clouds.py"
        body = textwrap.indent(textwrap.dedent(verdict).strip(), "    ")
        path.write_text(textwrap.dedent(CLOUDS) + f"\ncalls = 0\n\ndef verdict(outputs, loss):\n{body}\n")
        return f"{path}:clouds"

    return write
