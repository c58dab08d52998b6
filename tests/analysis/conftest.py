"""Small, quick runs on the 8x8 digits; nothing waits for the disk, and figures are small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from analysis_runs import SMALL

from galab.config.run_config import RunConfig
from galab.training.start_or_resume import start


@pytest.fixture
def evolve(tmp_path: Path, no_waiting_for_the_disk: None) -> Callable[..., Path]:
    """Makes a small run: ``evolve("name", children=9)`` is its folder."""

    def make(name: str = "first", **changes: Any) -> Path:
        start(RunConfig(**{**SMALL, **changes}), name=name, runs=tmp_path)
        return tmp_path / name

    return make


@pytest.fixture(autouse=True)
def quick(no_waiting_for_the_disk: None, images_read_once: None, rough_figures: None) -> None:
    """Most tests here write run folders or figures."""
