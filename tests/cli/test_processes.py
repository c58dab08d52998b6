"""What needs real processes: signals, the lock and pipes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

FLAGS = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--threads", "1",
    "--report-every", "10", "--save-every", "1000", "--seed", "5",
]  # fmt: skip
GALAB = [sys.executable, "-c", "from galab.cli import main; main()"]


def begin(*arguments: Any, **named: Any) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([*GALAB, *map(str, arguments)], stdout=pipe, stderr=pipe, text=True, **named)


def wait_for_generations(count: int, folder: Path) -> None:
    """Until the log has so many lines."""
    for _ in range(1200):
        log = folder / "log.jsonl"
        if log.exists() and log.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.05)
    pytest.fail("the run did not begin within a minute")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_saves_and_resumes_exactly_while_a_second_writer_is_kept_out(galab: Any) -> None:
    run = Path("runs/one")
    process = begin("run", *FLAGS, "--name", "one", "--generations", 1_000_000)
    try:
        wait_for_generations(20, run)
        assert json.loads(galab("list", "-f", "json").out)[0]["state"] == "running"
        assert "a run folder in use by another process" in galab("resume", run, code=1).err
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "\x1b" not in out + err
    assert out.startswith("interrupted: generation ")
    assert "galab resume runs/one" in out
    (row,) = json.loads(galab("list", "-f", "json").out)
    assert row["state"] == "stopped"
    reached = row["generation"]
    assert (run / "checkpoints" / f"gen_{reached:06d}.pkl").exists()
    assert len((run / "log.jsonl").read_text().splitlines()) == reached
    galab("resume", run, "--generations", reached + 15)
    galab("run", *FLAGS, "--name", "two", "--generations", reached + 15, "-q")
    logs = []
    for name in ("one", "two"):
        lines = [json.loads(line) for line in Path(f"runs/{name}/log.jsonl").read_text().splitlines()]
        timing = ("seconds", "generation_seconds", "evaluations_per_second")
        logs.append([{key: value for key, value in line.items() if key not in timing} for line in lines])
    assert logs[0] == logs[1]
    assert Path("runs/one/lineage.bin").read_bytes() == Path("runs/two/lineage.bin").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_terminal_gets_a_live_line_and_its_cursor_back() -> None:
    controller, terminal = pty.openpty()
    command = [*GALAB, "run", *FLAGS, "--generations", "60"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert process.wait(timeout=60) == 0
    assert b"generation " in shown
    assert b"\x1b[?25l" in shown, "no live line"
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor stays hidden"


def test_a_reader_that_goes_away_is_no_error(evolve: Any) -> None:
    evolve()
    process = begin("list")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert "Traceback" not in errors
