"""Small, quick runs on the 8x8 digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from analysis_runs import SMALL

from galab.config.run_config import RunConfig
from galab.training.start import start


@pytest.fixture
def evolve(tmp_path: Path, no_waiting_for_the_disk: None) -> Callable[..., Path]:
    """Makes a small run: ``evolve("name", children=9)`` is its folder."""

    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**{**SMALL, **changes}), name=name, runs=tmp_path)
        return tmp_path / name

    return make
