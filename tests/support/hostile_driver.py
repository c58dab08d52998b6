"""Opens hostile files in every way there is, and says what became of each.

Usage: ``python hostile_driver.py FOLDER [STRIDE [FIRST]]``. Small runs are made in FOLDER, each STRIDE-th case of
``hostile_files.py`` from number FIRST on is tried, and one JSON object is printed. A case is *refused* by a galab error
of one line or *accepted* where it means what the file meant before; anything else is a *fault*: another exception, a
traceback, code that ran, a control character on the terminal, a file outside the folder, or more than 500 MB.
"""

import contextlib
import functools
import io
import json
import logging
import os
import re
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile_files import KINDS, Case, cases, make_sources  # noqa: E402
from lab_outcome import merged  # noqa: E402
from small_runs import SMALL  # noqa: E402

import galab  # noqa: E402
from galab.cli.main import main as command_line  # noqa: E402
from galab.config import RunConfig  # noqa: E402
from galab.errors import GalabError  # noqa: E402
from galab.saved_runs.export import read_genome  # noqa: E402
from galab.saved_runs.saved_run import SavedRun, open_saved  # noqa: E402
from galab.saved_runs.verify import verify  # noqa: E402
from galab.storage.log import read_log  # noqa: E402
from galab.storage.run_folder import RunFolder  # noqa: E402
from galab.training.saved_state import meaning  # noqa: E402
from galab.training.start_or_resume import resume, start  # noqa: E402
from galab.training.trials.trials import resume_trials  # noqa: E402

MOST_BYTES = 500 * 10**6
#: What a terminal obeys: all but tabs and the ends of lines.
RAW = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


class Fault(Exception):
    """Something that must not happen."""


def on_the_terminal(*words: str) -> None:
    """A command; what it prints is looked at, whatever its exit code.

    Raises:
        Fault: a traceback, a bug, or a control character.
        GalabError: the command says that something is wrong.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            command_line(list(words))
        except SystemExit as end:
            code = end.code
    text = out.getvalue()
    if "bug in galab" in text or "Traceback" in text or code not in (0, 1, 2):
        raise Fault(f"galab {' '.join(words)}: {code} {text[-400:]}")
    if RAW.search(text):
        raise Fault(f"galab {' '.join(words)}: a control character in {text[-400:]!r}")
    if code:
        raise GalabError(text.strip().splitlines()[-1])


def meaning_of(path: Path) -> dict[str, Any]:
    """What a run at its newest checkpoint means, as far as it can be told without a replay."""
    saved = open_saved(path)
    saved.check_founders()
    parts = {"founders": saved.founders.sha256, "layout": saved.layout, "generation": saved.generation}
    network = galab.load(path)
    parts |= {"weights": sum(value.numel() for value in network.parameters()), "numbers": saved.numbers}
    return parts | {"config": saved.config, "records": saved.records.tobytes()}


def compare_meaning(path: Path, expected: dict[str, Any]) -> None:
    """Open a run.

    Raises:
        Fault: it is accepted and means something else.
        GalabError: it is refused.
    """
    found = meaning_of(path)
    for name, was in expected.items():
        same = not meaning(found[name], was) if isinstance(was, RunConfig) else found[name] == was
        if not same:
            raise Fault(f"{name} changed its meaning: {str(was)[:80]} became {str(found[name])[:80]}")


class Examiner:
    """Tries cases, one after the other.

    Args:
        root: where the sources are; cases are tried in a folder of its own in it.
    """

    def __init__(self, root: Path) -> None:
        self.sources, self.work = root / "sources", root / "work"
        self.touched = root / "touched"
        self.sources.mkdir(parents=True)
        make_sources(self.sources)
        self.expected = {kind: meaning_of(self.sources / kind) for kind in KINDS}
        self.tensors = torch.load(self.sources / "weights.pt", weights_only=True)
        self.before = self.outside()

    def outside(self) -> list[Any]:
        """Every file that no case may touch."""
        paths = sorted(path for path in self.sources.parent.rglob("*") if self.work not in (path, *path.parents))
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.is_file()]

    def placed(self, case: Case, content: bytes) -> Path:
        """A copy of the source with the case's file in it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        place = self.work / case.source
        if not case.file:
            place.write_bytes(content)
            return place
        shutil.copytree(self.sources / case.source, place)
        (place / case.file).write_bytes(content)
        return place

    def attempts(self, case: Case, place: Path, number: int) -> Iterator[Callable[[], object]]:
        """Ways to open it, the one that says most first."""
        if case.source.endswith(".json"):
            yield lambda: self.same_genome(case, place)
            yield lambda: galab.load(place)
        elif case.source.endswith(".pt"):
            yield lambda: self.same_weights(case, place)
        elif case.file == "group.json":
            yield lambda: on_the_terminal("show", str(place))
            yield lambda: on_the_terminal("list", "--runs", str(self.work))
            yield lambda: resume_trials(place, {"generations": 3}, jobs=1)
            yield lambda: on_the_terminal("resume", str(place), "-q")
        else:
            yield from self.attempts_at_a_run(case, place, number)

    def attempts_at_a_run(self, case: Case, place: Path, number: int) -> Iterator[Callable[[], object]]:
        """Ways to open a run of which one file was replaced."""
        yield lambda: self.same_run(case, place)
        yield lambda: on_the_terminal("show", str(place))
        if case.file.endswith((".json", ".jsonl")) or number % 10 == 0:
            yield lambda: on_the_terminal("list", "--runs", str(self.work))
            yield lambda: on_the_terminal("show", str(place), "-f", "json")
            yield lambda: on_the_terminal("verify", str(place))
        if number % 100 == 50:  # most of their time is figures
            yield lambda: on_the_terminal("compare", str(place), "--metric", "fitness_best")
            yield lambda: on_the_terminal("report", str(place), "-q")
        if case.sealed or not case.file.startswith("checkpoints") or number % 10 == 0:  # else all ends at the seal
            yield lambda: verify(RunFolder(place))
            yield lambda: resume(place, {"generations": 6})

    def same_run(self, case: Case, place: Path) -> None:
        """Open a run; its log too where that is what was changed."""
        compare_meaning(place, self.expected[case.source])
        if case.file.endswith(".pkl") and not case.sealed:
            raise Fault("a damaged file with its old seal was accepted")
        if case.file == "log.jsonl":
            read_log(place / case.file)

    def same_genome(self, case: Case, place: Path) -> None:
        """Read a genome."""
        wanted = read_genome(self.sources / case.source)[1].weights
        if not np.array_equal(read_genome(place)[1].weights, wanted):
            raise Fault("a genome decoded to other weights")

    def same_weights(self, case: Case, place: Path) -> None:
        """Begin a run with a file of weights."""
        config = RunConfig(**merged(SMALL, {"generations": 1, "init": str(place)}))
        result = start(config, name="begun", runs=self.work)
        given = SavedRun.open(result.folder.path).founders.given[0]
        wanted = torch.cat([value.flatten() for value in self.tensors.values()]).double().mul(2**24).round().numpy()
        made = " at " not in case.name  # another file, and no damaged one
        if not made and not np.array_equal(given, wanted):
            raise Fault("a damaged file of weights was accepted")

    def try_case(self, case: Case, number: int, *, brief: bool = False) -> str:
        """``refused`` or ``accepted``; ``nothing`` where the case changes nothing.

        Args:
            case: what to try.
            number: of the case; some ways to open a file are tried with some cases alone.
            brief: of most cases only the way that says most.

        Raises:
            Fault: something that must not happen.
        """
        content = case.make()
        if content is None:
            return "nothing"
        place, outcome = self.placed(case, content), "accepted"
        for way, attempt in enumerate(self.attempts(case, place, number)):
            if brief and way and number % 8:
                break
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    attempt()
            except GalabError as error:
                outcome = "refused"
                said = str(error)
                if "\n" in said or RAW.search(said) or len(said) > 2000:
                    raise Fault(f"a message that is no line: {said[:300]!r}") from None
            except Fault:
                raise
            except BaseException as error:
                raise Fault(f"{type(error).__name__}: {str(error)[:300]}") from error
        if self.touched.exists():
            raise Fault("code ran")
        if self.outside() != self.before:
            raise Fault("a file outside the folder was changed")
        return outcome


def memory(name: str) -> int:
    """A line of ``/proc/self/status``, in bytes: VmSize, VmRSS, VmHWM."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def grown(action: Callable[[], str]) -> tuple[str, int]:
    """What an action gives, and by how much memory grew meanwhile, at its highest."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the mark of the highest begins anew
    before = memory("VmRSS")
    found = action()
    return found, memory("VmHWM") - before


def main(root: Path, stride: int = 1, first: int = 0) -> None:
    """Try the cases and print what became of them."""
    sklearn.datasets.load_digits = functools.cache(sklearn.datasets.load_digits)
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # only a power cut needs it
    logging.getLogger("galab").setLevel(logging.ERROR)
    began = time.monotonic()
    examiner = Examiner(root)
    counts: Counter[str] = Counter()
    sorts: Counter[str] = Counter()
    faults: list[str] = []
    most, which, limited = 0, "", False
    for number, case in enumerate(cases(examiner.sources)):
        if number % stride != first:
            continue
        sorts[case.file or Path(case.source).suffix] += 1
        try:
            tried = sum(sorts.values())
            outcome, peak = grown(lambda case=case, tried=tried: examiner.try_case(case, tried))
            if peak > most:
                most, which = peak, f"{case.source} {case.name}"
            if peak > MOST_BYTES:
                raise Fault(f"{peak / 1e6:.0f} MB")
            counts[outcome] += 1
        except Fault as fault:
            counts["fault"] += 1
            sys.stderr.write(f"{case.source}/{case.file} {case.name!r}: {fault}\n"[:400])
            sys.stderr.flush()
            faults.append(f"{case.source}/{case.file} {case.name!r}: {fault}")
            shutil.rmtree(examiner.touched, ignore_errors=True)
            examiner.touched.unlink(missing_ok=True)
            examiner.before = examiner.outside()
        if not limited and tried > 50:  # all has been imported; what is mapped from now on is taken by files
            limit = memory("VmSize") + 2 * MOST_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
            limited = True
    shutil.rmtree(examiner.work, ignore_errors=True)
    counts.pop("nothing", None)
    summary = {
        "files": sum(counts.values()), **counts, "most_mb": round(most / 1e6), "most_of": which,
        "seconds": round(time.monotonic() - began), "sorts": dict(sorts), "faults": faults,
    }  # fmt: skip
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
