"""What ``-o`` and ``--figure`` name: links are written through, devices get the bytes, the rest is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, FIFOs and devices")


@pytest.fixture
def commands(evolve: Any) -> dict[str, list[Any]]:
    """Commands that write the file which is named last; its suffix is .png where that matters."""
    run = evolve()
    return {
        "export": ["export", run, "--to", "genome", "-o"],
        "report": ["report", run, "-q", "-o"],
        "compare": ["compare", run, "--figure"],
    }


def test_a_link_is_written_through_and_a_device_stays_one(galab: Any, commands: dict[str, list[Any]]) -> None:
    for name, words in commands.items():
        link = Path(f"{name}.png")
        link.symlink_to(f"{name}-target.png")
        galab(*words, link)
        assert link.is_symlink()
        assert Path(f"{name}-target.png").stat().st_size > 500
        link.unlink()
        link.symlink_to("/dev/null")
        galab(*words, link)
        assert link.is_symlink()
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.slow
def test_standard_output_gets_the_file_and_nothing_else(commands: dict[str, list[Any]]) -> None:
    line = [sys.executable, "-c", "from galab.cli import main; main()", *map(str, commands["export"]), "/dev/stdout"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["kind"] == "galab genome"
    assert done.stderr.startswith("/dev/stdout: ")


def test_what_is_no_file_is_refused(sentence: Any, commands: dict[str, list[Any]]) -> None:
    os.mkfifo("pipe.png")
    Path("folder.png").mkdir()
    for words in commands.values():
        assert sentence(*words, "pipe.png", code=2).endswith("got 'pipe.png', which is a FIFO; name a file")
        assert "is a directory" in sentence(*words, "folder.png", code=2)
    assert stat.S_ISFIFO(os.stat("pipe.png").st_mode)


def test_export_from_python_keeps_to_the_same_rules(evolve: Any) -> None:
    from galab.errors import UsageError
    from galab.saved_runs.export import export
    from galab.saved_runs.saved_run import open_saved

    saved = open_saved(evolve())
    os.mkfifo("pipe.pt")
    with pytest.raises(UsageError, match=r"which is a FIFO; name a file"):
        export(saved, "torch", Path("pipe.pt"))
    Path("link.pt").symlink_to("target.pt")
    assert export(saved, "torch", Path("link.pt")) == Path("target.pt").stat().st_size
    assert Path("link.pt").is_symlink()
