"""Where the real MNIST files are, and a small task of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def full_mnist(monkeypatch) -> Path:
    """A folder with MNIST as ``GALAB_DATA``; the test is skipped where there is none."""
    folder = Path(os.environ.get("GALAB_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not list((folder / "mnist").glob("train-images-idx3-ubyte*")):
        pytest.skip(f"needs the full MNIST in '{folder / 'mnist'}'; set GALAB_DATA")
    monkeypatch.setenv("GALAB_DATA", str(folder))
    return folder
