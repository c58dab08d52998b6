"""Kills runs and resumes them; a script, so that a fresh process imports torch once and then forks for every sitting.

Usage: ``python kill_driver.py FOLDER random KILLS SEED [KIND ...]`` or, after FOLDER, ``everywhere STRIDE OFFSET ...``,
where KIND is one of ``lab_outcome.ENGINE``, ``EVOLUTION``, ``GRADIENTS``, ``VECTORS``, ``INTEGER``, ``EPISODES``,
``PROMPTS`` or ``OTHER_WORLDS``; without any, a plain run is killed.
One JSON object per trial is printed: how often it was killed, where, and what differs from the unbroken run.

A forked child is safe because the parent has used torch on one thread only, so no pool of threads is lost in the fork.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import lab_outcome as kinds_of  # noqa: E402
from lab_outcome import generations_of, merged, outcome  # noqa: E402

from galab.config import RunConfig  # noqa: E402
from galab.storage import lineage  # noqa: E402
from galab.storage import log as journal  # noqa: E402
from galab.training.start_or_resume import resume, start  # noqa: E402

KINDS: dict[str, dict[str, Any]] = (
    kinds_of.ENGINE | kinds_of.EVOLUTION | kinds_of.GRADIENTS | kinds_of.VECTORS | kinds_of.INTEGER
    | kinds_of.EPISODES | kinds_of.OTHER_WORLDS | kinds_of.PROMPTS
)  # fmt: skip
LONG = {
    "task": "digits", "hidden": "4", "batch": 32, "parents": 3, "children": 6, "elites": 1, "generations": 30,
    "save_every": 3, "report_every": 5, "seed": 5, "threads": 1, "distribution": "scipy:t(df=5)",
}  # fmt: skip
SHORT = LONG | {"generations": 5, "save_every": 2, "report_every": 2, "keep": "1"}


def sitting(folder: Path, config: dict[str, Any]) -> None:
    """Start the run, or resume it where its folder exists."""
    if (folder / "config.json").exists():
        resume(folder)
    else:
        start(RunConfig(**config), name=folder.name, runs=folder.parent)


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill: so many generations into a run, on a fast machine and on a busy one."""

    folder: Path
    generations: float
    pace: float  # seconds that a generation takes about

    def wait(self, ended: Callable[[], bool]) -> None:
        """Until it has come or the run has ended; what was logged before a kill counts."""
        log, whole = self.folder / "log.jsonl", int(self.generations)
        while whole and not ended() and not (log.exists() and log.read_bytes().count(b"\n") >= whole):
            time.sleep(self.pace / 10)
        time.sleep(self.pace * (self.generations - whole))


def in_child(action: Callable[[], None], kill_at: Moment | None = None) -> bool:
    """Run ``action`` in a forked child, killed at a moment; whether it ended by itself and well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(code)
    if kill_at is not None:
        # A child that has ended stays to be waited for, so its number is nobody else's.
        kill_at.wait(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        raise SystemExit("a sitting failed")
    return True


def everything(folder: Path) -> dict[str, Any]:
    """All of a finished run that must not depend on kills."""
    leftovers = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.galab-*"))
    found = outcome(folder) | {"checkpoints": generations_of(folder), "leftovers": leftovers}
    return json.loads(json.dumps(found))


def progress(folder: Path) -> int:
    """The newest checkpoint's generation, -1 before the first, -2 before the folder."""
    present = generations_of(folder)
    return present[-1] if present else -1 if folder.exists() else -2


def report(trial: int, kills: list[Any], folder: Path, expected: dict[str, Any]) -> None:
    found = everything(folder)
    different = [name for name in expected if found[name] != expected[name]]
    name = f"{folder.parent.name} {trial}"
    sys.stdout.write(json.dumps({"trial": name, "kills": kills, "different": different}) + "\n")
    sys.stdout.flush()


def kill_at_random(root: Path, kills: int, seed: int) -> None:
    expected, seconds = unbroken(root, LONG)
    pace = seconds / LONG["generations"]
    moments = random.Random(seed)
    done = trial = 0
    while done < kills:
        folder, met, finished = root / f"trial-{trial}", [], False
        # A quarter of the kills hit a run again that was resumed after a kill.
        while not finished and done < kills and (not met or moments.random() < 0.25):
            moment = Moment(folder, moments.uniform(0, LONG["generations"] + 1), pace)
            finished = in_child(lambda folder=folder: sitting(folder, LONG), moment)
            if not finished:
                met.append(progress(folder))
                done += 1
        if not finished:
            in_child(lambda folder=folder: sitting(folder, LONG))
        report(trial, met, folder, expected)
        trial += 1


def kill_everywhere(root: Path, stride: int, offset: int) -> None:
    """Kill before and after every change to the disk, one trial for each."""
    expected, _ = unbroken(root, SHORT)
    trial, finished = offset, False
    while not finished:
        folder = root / f"trial-{trial}"

        def first(folder: Path = folder, place: int = trial) -> None:
            die_at(place)
            sitting(folder, SHORT)

        finished = in_child(first)
        if not finished:
            place = progress(folder)

            # Resuming is killed too, at a place that moves from trial to trial.
            def second(folder: Path = folder, place: int = trial % 17) -> None:
                die_at(place)
                sitting(folder, SHORT)

            in_child(second)
            in_child(lambda folder=folder: sitting(folder, SHORT))
            report(trial, [place], folder, expected)
        trial += stride


def die_at(place: int) -> None:
    """Make this process kill itself at its ``place``-th change to the disk: before it, half-way or after it."""
    count = -1

    def point() -> None:
        nonlocal count
        count += 1
        if count == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            point()
            result = function(*arguments, **named)
            point()
            return result

        return wrapped

    def torn(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(handle: Any, data: bytes, path: Path) -> None:
            nonlocal count
            if count + 1 == place:
                handle.seek(0, os.SEEK_END)
                handle.write(data[: len(data) // 2])
            point()
            function(handle, data, path)
            point()

        return wrapped

    for name in ("replace", "rename", "fsync", "unlink", "mkdir"):
        setattr(os, name, around(getattr(os, name)))
    journal.append_whole = torn(journal.append_whole)  # type: ignore[assignment]
    lineage.append_whole = torn(lineage.append_whole)  # type: ignore[assignment]


def unbroken(root: Path, config: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The outcome of a run that nobody kills, and its seconds."""
    # Everything that is imported at first use is imported here, not in each child.
    start(RunConfig(**config | {"generations": 5}), name="warm", runs=root)
    began = time.monotonic()
    in_child(lambda: sitting(root / "unbroken", config))
    seconds = time.monotonic() - began
    return everything(root / "unbroken"), seconds


def main(where: Path, how: str, first: int, second: int, kinds: list[str]) -> None:
    """One kind after the other, as starting a process takes longer than killing a few runs."""
    global LONG, SHORT
    plain = LONG, SHORT
    for kind in kinds or [""]:
        changes = KINDS[kind] if kind else {}
        LONG, SHORT = (merged(base, changes) for base in plain)
        (kill_at_random if how == "random" else kill_everywhere)(where / (kind or "plain"), first, second)


if __name__ == "__main__":
    assert torch.get_num_threads() == 1
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
