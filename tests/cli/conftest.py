"""The command line in this process: a real subprocess costs seconds, because it imports torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SMALL = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--seed", "5",
    "--threads", "1", "--generations", "5", "--save-every", "2", "--report-every", "2",
]  # fmt: skip


class Said(NamedTuple):
    """What a command printed."""

    out: str
    err: str


@pytest.fixture(autouse=True)
def quick(
    no_waiting_for_the_disk: None, images_read_once: None, rough_figures: None, forked_processes: None
) -> None:
    """All tests here write run folders, and many of them figures."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a folder of its own as the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def galab(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """``galab("list", code=0)`` is what that command prints; it must exit with that code and without a traceback."""
    from galab.cli.main import main

    def call(*arguments: Any, code: int = 0) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = Said(*capsys.readouterr())
        assert stop.value.code == code, said.err
        if "--debug" not in arguments:
            assert "Traceback" not in said.out + said.err
        return said

    return call


@pytest.fixture
def evolve(galab: Callable[..., Said], tmp_path: Path) -> Callable[..., Path]:
    """Makes a small run: ``evolve("name", "--children", 9)`` is its folder."""

    def make(name: str = "first", *flags: Any) -> Path:
        galab("run", *SMALL, "--name", name, "--quiet", *flags)
        return Path("runs") / name

    return make


@pytest.fixture
def sentence(galab: Callable[..., Said]) -> Callable[..., str]:
    """The one sentence on standard error with which a command fails; nothing is on standard output."""

    def call(*arguments: Any, code: int = 1) -> str:
        said = galab(*arguments, code=code)
        lines = said.err.strip().splitlines()
        assert said.out == ""
        assert lines, "nothing was said"
        # click prints its usage above its own errors
        shown = [line for line in lines if line and not line.startswith(("Usage: ", "Try 'galab"))]
        assert len(shown) == 1, said.err
        return shown[0]

    return call
