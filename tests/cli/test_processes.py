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

from galab.training.log_fields import TIMING

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
        logs.append([{key: value for key, value in line.items() if key not in TIMING} for line in lines])
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


RUN = ["run", *FLAGS, "--generations", "12", "--name", "new"]
SWEEP = ["sweep", *FLAGS[:-2], "--grid", "elites=0,1", "--seeds", "0", "--generations", "3", "--name", "new", "--jobs"]


COMMANDS = {
    "list": ["list"],
    "run": RUN,
    "resume": ["resume", "runs/first", "--generations", "9"],
    "sweep": [*SWEEP, "1"],
    "sweep-in-processes": [*SWEEP, "2"],
    "analyze": ["analyze", "replay", "runs/first"],
    "report": ["report", "runs/first"],
}
#: What is tried in each way before a release alone; each takes ten seconds or more.
LATER = {
    "gone": ("sweep-in-processes", "resume", "report", "analyze"),
    "closed": ("resume", "sweep", "sweep-in-processes", "analyze", "report"),
}


@pytest.mark.parametrize(
    ("command", "readers"),
    [
        pytest.param(command, readers, id=f"{readers}-{name}", marks=[pytest.mark.release] * (name in later))
        for readers, later in LATER.items()
        for name, command in COMMANDS.items()
    ],
)
def test_a_command_does_its_work_when_nobody_reads_what_it_says(evolve: Any, command: list[str], readers: str) -> None:
    evolve()
    ends: dict[str, Any] = {}
    if readers == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        ends = {"stdout": writing, "stderr": writing}
    line = [sys.executable, "-c", "from galab.cli import main; main()", *command]
    if readers == "closed":
        line = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', *line]
    assert subprocess.run(line, **ends, check=False, timeout=300).returncode == 0
    for descriptor in set(ends.values()):
        os.close(descriptor)
    if command[0] == "report":
        assert Path("runs/first/analysis/report.html").stat().st_size > 1000
    if command[0] == "analyze":
        assert list(Path("runs/first/analysis").iterdir())
    for status in map(json.loads, (path.read_text() for path in Path("runs/new").rglob("status.json"))):
        assert status["state"] == "finished"
    if command[0] in ("run", "resume"):
        status = json.loads(Path(f"runs/{'new' if command == RUN else 'first'}/status.json").read_text())
        assert status["generation"] == (12 if command == RUN else 9)
        assert "standard error was lost from 20" in status["output"]


def test_what_a_full_disk_did_not_take_is_an_error(evolve: Any) -> None:
    evolve()
    with open("/dev/full", "w") as full:
        done = subprocess.run([*GALAB, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("galab: standard output was lost from 20")
    assert done.stderr.endswith("on (No space left on device)\n")
