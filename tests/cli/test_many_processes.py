"""Trials in processes of their own: Ctrl-C reaches all of them, and one that dies takes nobody with it."""

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
    "--report-every", "10", "--save-every", "20", "--seeds", "0-1", "--jobs", "2", "--name", "many",
]  # fmt: skip
GALAB = [sys.executable, "-c", "from galab.cli import main; main()"]
RUNS = [Path(f"runs/many/seed_{seed}") for seed in range(2)]

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals"), pytest.mark.slow]


@contextmanager
def begun(*flags: Any) -> "Iterator[subprocess.Popen[str]]":
    """A group in two processes, each of which has reached generation 30."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*GALAB, "run", *FLAGS, *map(str, flags)], stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    try:
        for _ in range(3600):
            logs = [run / "log.jsonl" for run in RUNS]
            if all(path.exists() and path.read_bytes().count(b"\n") >= 30 for path in logs):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the trials did not begin within three minutes")
        yield process
    finally:
        process.kill()
        process.communicate()


def status(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "status.json").read_text())
    return found


def log(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


@pytest.mark.parametrize(
    "to_all", [pytest.param(True, id="terminal"), pytest.param(False, id="parent", marks=pytest.mark.release)]
)
def test_ctrl_c_saves_every_trial(galab: Any, to_all: bool) -> None:
    with begun("--generations", 1_000_000) as process:
        # A terminal sends it to every process of the group, `kill -INT` to the parent alone.
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "0 of 2 trials finished" in out
    assert "galab resume runs/many" in out
    for run in RUNS:
        assert status(run)["state"] == "stopped"
        assert (run / "checkpoints" / f"gen_{status(run)['generation']:06d}.pkl").exists()
        assert len(log(run)) == status(run)["generation"]


def test_a_killed_process_fails_its_trial_alone_and_resumes_exactly(galab: Any) -> None:
    with begun("--generations", 3000) as process:
        os.kill(status(RUNS[1])["pid"], signal.SIGKILL)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=180)
    assert process.returncode == 1, err
    assert "seed_1 failed: its process was killed by signal 9; `galab resume` continues" in err
    assert "Traceback" not in err
    reached = max(status(run)["generation"] for run in RUNS) + 40
    galab("resume", "runs/many", "--generations", reached, "--jobs", 1, "-q")
    for seed, run in enumerate(RUNS):
        alone = ["--seed", seed, "--generations", reached, "--name", f"alone-{seed}", "-q"]
        galab("run", *FLAGS[: FLAGS.index("--seeds")], *alone)
        assert log(run) == log(Path(f"runs/alone-{seed}"))
        assert (run / "lineage.bin").read_bytes() == Path(f"runs/alone-{seed}/lineage.bin").read_bytes()


@pytest.mark.release
def test_the_trials_save_when_their_parent_is_killed(galab: Any) -> None:
    with begun("--generations", 1_000_000) as process:
        process.kill()
        process.wait()
        for _ in range(2400):
            if all(status(run)["state"] == "stopped" for run in RUNS):
                break
            time.sleep(0.05)
    assert [status(run)["state"] for run in RUNS] == ["stopped"] * 2
