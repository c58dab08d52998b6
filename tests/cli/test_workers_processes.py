"""Workers and signals: Ctrl-C saves, and whoever kills the run kills its workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from galab.training.log_fields import TIMING

FLAGS = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--threads", "1",
    "--report-every", "10", "--save-every", "20", "--seed", "5", "--chunk", "2",
]  # fmt: skip
GALAB = [sys.executable, "-c", "from galab.cli import main; main()"]
RUN = Path("runs/shared")

pytestmark = [pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"), pytest.mark.slow]


def log(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def workers_of(group: int) -> list[int]:
    """Processes of a group that compute for the run that leads it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != group:
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(state[2]) == group and b"spawn_main" in command:  # of the dead there is no command
                found.append(int(entry.name))
    return found


@contextmanager
def begun(workers: int) -> "Iterator[subprocess.Popen[str]]":
    """A run that has reached generation 30."""
    command = [*GALAB, "run", *FLAGS, "--generations", "1000000", "--name", RUN.name, "--workers", str(workers)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        for _ in range(3600):
            if (RUN / "log.jsonl").exists() and (RUN / "log.jsonl").read_bytes().count(b"\n") >= 30:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the run did not begin within three minutes")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_saves_and_leaves_no_worker_behind(galab: Any) -> None:
    with begun(workers=1) as process:
        assert len(workers_of(process.pid)) == 1
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=180)
        assert workers_of(process.pid) == []
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "a worker died" not in err
    status = json.loads((RUN / "status.json").read_text())
    assert status["state"] == "stopped"
    assert len(log(RUN)) == status["generation"]


def test_the_start_line_says_how_many_workers_were_asked_for_and_started(galab: Any) -> None:
    said = galab("run", *FLAGS, "--generations", 2, "--workers", 1000, "--name", RUN.name)
    assert "seed 5, 3 workers of the 1,000 asked for\n" in said.err
    assert json.loads((RUN / "config.json").read_text())["hyperparameters"]["workers"] == 1000


def test_workers_end_with_a_killed_run_which_resumes_exactly_without_them(galab: Any) -> None:
    with begun(workers=2) as process:
        assert len(workers_of(process.pid)) == 2
        process.kill()
        process.wait()
        for _ in range(600):
            if not workers_of(process.pid):
                break
            time.sleep(0.05)
        assert workers_of(process.pid) == []
    reached = len(log(RUN)) + 20
    galab("resume", RUN, "--workers", 0, "--generations", reached, "-q")
    galab("run", *FLAGS, "--generations", reached, "--name", "alone", "-q")
    assert log(RUN) == log(Path("runs/alone"))
    assert (RUN / "lineage.bin").read_bytes() == Path("runs/alone/lineage.bin").read_bytes()


def test_a_script_without_a_guard_is_told_so_and_does_not_hang(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import galab\n"
        "galab.run(task='digits', hidden='4', batch=32, children=8, chunk=4, generations=2, workers=1, threads=1)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert done.stderr.count("expected `if __name__ == '__main__':` around what a script computes in processes") == 1
    assert "expected a worker to start, but its process ended with code 1 before it was ready" in done.stderr
    assert len(list(Path("runs").iterdir())) == 1
