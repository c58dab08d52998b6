"""What every test may rely on: where the data sets are, and property tests that draw the same examples each time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A failure must be there again in the next run, and a busy machine is no failure.
settings.register_profile("galab", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("galab")

@pytest.fixture(scope="session", autouse=True)
def data_environment() -> Iterator[None]:
    """A relative path in GALAB_DATA is made absolute, for tests that work in a folder of their own."""
    named = os.environ.get("GALAB_DATA")
    with pytest.MonkeyPatch.context() as patch:
        if named:
            patch.setenv("GALAB_DATA", str(Path(named).resolve()))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What galab notes about its user stays out of the real user's folders, for this process and its children."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def data_folder(data_environment: None) -> Path:
    """The folder that holds MNIST's four files; the test is skipped where there is none."""
    named = os.environ.get("GALAB_DATA")
    if not named:
        pytest.skip("needs MNIST: GALAB_DATA is not set")
    folder = Path(named) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"needs MNIST: there is no folder '{folder}' (GALAB_DATA is '{named}')")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread, for a test that times something or compares numeric profiles."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut needs fsync, and half of a small run's time is waiting for it."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """The command line sets the level of galab's logger; give it back."""
    logger = logging.getLogger("galab")
    before = logger.level
    yield
    logger.setLevel(before)
