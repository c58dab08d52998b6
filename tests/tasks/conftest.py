"""Where the real MNIST files are, and a small task of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def quick(images_read_once: None) -> None:
    """Many tasks here are made of the same images."""


@pytest.fixture
def full_mnist(data_folder: Path) -> Path:
    """The folder that ``GALAB_DATA`` names, with MNIST in it; the test is skipped where there is none."""
    return data_folder.parent
