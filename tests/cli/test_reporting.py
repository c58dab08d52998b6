"""``galab report``: one file that needs no other, of any run, and safe whatever a run's texts hold."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from galab.config.registry import ANALYSES
from galab.storage.log import read_log

ALONE = ("meta", "img", "br", "!doctype")
EVIL = "<script>alert('x')</script>\"'&"


class Reader(HTMLParser):
    """Checks that tags balance, and collects what a page refers to, its images and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.images: list[bytes] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See :class:`HTMLParser`."""
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("src", "href", "data", "action", "srcset"):
                self.references.append(value or "")
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See :class:`HTMLParser`."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """See :class:`HTMLParser`."""
        self.words.append(data)


def read(path: Path) -> Reader:
    """A report that is complete: every reference is an image inside it, and every image decodes."""
    from matplotlib.image import imread

    text = path.read_text(encoding="utf-8")
    found = Reader()
    found.feed(text)
    found.close()
    assert not found.open
    assert "script" not in found.tags
    for reference in found.references:
        assert reference.startswith("data:image/png;base64,"), reference[:80]
        found.images.append(base64.b64decode(reference.partition(",")[2], validate=True))
    for image in found.images:
        assert imread(io.BytesIO(image)).shape[0] > 50
    assert not re.search(r"url\(|@import|https?://", text.replace(EVIL, ""))
    assert "default-src &#x27;none&#x27;" in text
    return found


def words(found: Reader) -> str:
    return " ".join(found.words)


@pytest.mark.slow
def test_a_run_says_everything(galab: Any, evolve: Any) -> None:
    run = evolve()
    said = galab("report", run, "-q").out
    file = run / "analysis" / "report.html"
    assert str(file) in said
    found = read(file)
    text = words(found)
    log = read_log(run / "log.jsonl")
    for expected in ("first", "generation 5, 960 evaluations (children x examples)", "digits, the embedded",
                     "finished: 5 generations done", "--children", "Provenance", "galab resume runs/first",
                     json.loads((run / "config.json").read_text())["data"]["fingerprint"], "cpu_capability",
                     "None was made yet", f"{log[-1]['evaluations']:,}"):  # fmt: skip
        assert expected in text, expected
    assert len(found.images) >= 4
    result = json.loads((run / "status.json").read_text())["result"]
    assert f"{result['test_accuracy']:.4f}" in text
    # What was chosen comes first, the rest is folded away.
    assert text.index("--children") < text.index("others: defaults") < text.index("--elites")


@pytest.mark.slow
def test_its_command_makes_the_same_run_again(galab: Any, evolve: Any) -> None:
    run = evolve("first", "--sigma", "0.03", "--crossover", "layer")
    galab("report", run, "-q")
    (command,) = re.findall(r"make it again\n(galab run .*)", words(read(run / "analysis" / "report.html")))
    galab(*shlex.split(command)[1:], "-q")
    keys = ("fitness_best", "fitness_mean", "step_size")
    old, new = (read_log(Path("runs") / name / "log.jsonl") for name in ("first", "first-again"))
    assert [[line[key] for key in keys] for line in old] == [[line[key] for key in keys] for line in new]


@pytest.mark.slow
def test_texts_of_a_run_are_escaped_wherever_they_stand(galab: Any, evolve: Any) -> None:
    run = evolve()
    evil = run.with_name("<b>&'evil'")
    run.rename(evil)
    status = json.loads((evil / "status.json").read_text())
    (evil / "status.json").write_text(json.dumps(status | {"state": "failed", "message": EVIL}))
    config = json.loads((evil / "config.json").read_text())
    config["data"]["description"] = EVIL
    (evil / "config.json").write_text(json.dumps(config))
    home = evil / "analysis"
    home.mkdir()
    (home / "<i>.json").write_text(json.dumps({"answer": EVIL, EVIL: [EVIL]}))
    (home / "<i>.csv").write_text('a,"<u>"\n1,<script>alert(1)</script>\n')
    lines = (evil / "log.jsonl").read_text().splitlines()
    lines[-1] = json.dumps(json.loads(lines[-1]) | {"warnings": [EVIL], "failures": 1, "failure_reasons": [EVIL]})
    (evil / "log.jsonl").write_text("\n".join(lines) + "\n")
    galab("report", evil, "-q")
    found = read(home / "report.html")
    assert not {"b", "i", "u"} & set(found.tags)
    text = words(found)
    assert text.count(EVIL) >= 6
    assert f"failed: {EVIL}" in text
    assert f"generation 5: {EVIL}" in text


MADE_UP = """
from galab.stats.plots import draw_bands
from galab.analysis.base import Analysis

def good(saved, heard):
    rows = [{"place": number} for number in range(300)]
    draw = lambda path: draw_bands(path, [], x_label="x", y_label="y", title="t")
    return Analysis("All is well.", {"share": 0.25}, rows, draw)

def broken(saved, heard):
    raise ZeroDivisionError("a bug")
"""


@pytest.mark.slow
def test_analyses_are_made_shown_and_their_failures_told(
    galab: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("made_up.py").write_text(MADE_UP)
    table = {"memory": ANALYSES._table["memory"], "good": "made_up.py:good", "broken": "made_up.py:broken"}
    monkeypatch.setattr(ANALYSES, "_table", table)
    run = evolve()
    galab("report", run, "--analyses", "all", "-q")
    text = words(read(run / "analysis" / "report.html"))
    assert "All is well." in text
    assert "table, 300 rows" in text
    assert "and 100 more rows" in text
    assert '"share": 0.25' in text
    assert "broken: unexpected ZeroDivisionError: a bug" in text
    assert re.search(r"memory: expected .* memories", text)
    before = sorted(path.name for path in (run / "analysis").iterdir())
    assert before == ["good.csv", "good.json", "good.png", "report.html"]


def test_an_unknown_analysis_is_refused_before_anything_is_made(sentence: Any, evolve: Any) -> None:
    run = evolve()
    assert "no analysis is called 'memry'. Did you mean 'memory'?" in sentence(
        "report", run, "--analyses", "memry", code=2
    )
    assert not (run / "analysis").exists()
    assert "found none" in sentence("report", "runs/nothing")


SMALL_ES = [
    "--hidden", "4", "--batch", "32", "--threads", "1", "--generations", "4", "--strategy", "eggroll",
    "--population", "8", "--report-every", "1",
]  # fmt: skip


@pytest.mark.slow
def test_an_evolution_strategy_with_its_doctor(galab: Any) -> None:
    galab("run", *SMALL_ES, "--task", "digits", "--name", "es", "-q")
    galab("report", "runs/es", "--doctor", "0.01", "-q")
    text = words(read(Path("runs/es/analysis/report.html")))
    for expected in ("of the centre", "(members x examples)", "doctor, estimate:", "--population"):
        assert expected in text, expected
    assert "--children" not in text


@pytest.mark.slow
@pytest.mark.parametrize("what", ["one generation", "killed at once", "checkpoint", "log", "config", "status", "png"])
def test_runs_that_are_short_or_damaged_have_a_report(galab: Any, evolve: Any, what: str) -> None:
    run = evolve("short", "--generations", "1") if what == "one generation" else evolve()
    expected = {
        "one generation": "finished: 1 generations done",
        "killed at once": "the run has not begun",
        "checkpoint": "expected",
        "log": "expected a JSON object with a generation in line 2",
        "config": "expected JSON in",
        "status": "expected JSON in",
        "png": "got half of one or other data",
    }[what]
    newest = sorted((run / "checkpoints").glob("*.pkl"))[-1]
    if what == "killed at once":
        for path in (run / "log.jsonl", run / "status.json", *(run / "checkpoints").glob("*.pkl")):
            path.unlink()
    elif what == "checkpoint":
        newest.write_bytes(newest.read_bytes()[:-60])
        expected = newest.name
    elif what == "log":
        lines = (run / "log.jsonl").read_text().splitlines()
        (run / "log.jsonl").write_text("\n".join([lines[0], "{nonsense", *lines[2:]]) + "\n")
    elif what == "png":
        (run / "analysis").mkdir()
        (run / "analysis" / "memory.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
        (run / "analysis" / "memory.json").write_text('{"answer": "An answer."}')
    elif what != "one generation":
        (run / f"{what}.json").write_text("{")
    galab("report", run, "--analyses", "memory", "-q")
    found = read(run / "analysis" / "report.html")
    assert expected in words(found)
    assert len(found.images) == 0 if what in ("log", "killed at once") else len(found.images) >= 3


@pytest.mark.slow
def test_values_that_are_not_finite_are_no_points(galab: Any, evolve: Any) -> None:
    run = evolve()
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"fitness_best": None, "fitness_mean": None, "step_size": float("nan")}
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    galab("report", run, "-q")
    assert len(read(run / "analysis" / "report.html").images) >= 2


@pytest.mark.slow
def test_checkpoints_have_a_report_of_their_own(galab: Any, evolve: Any, tmp_path: Path) -> None:
    run = evolve()
    early = sorted((run / "checkpoints").glob("*.pkl"))[-2]
    galab("report", early, "-q")
    text = words(read(run / "analysis" / f"report-{early.stem}.html"))
    assert f"generation {int(early.stem.split('_')[1])}, " in text
    alone = tmp_path / "alone.pkl"
    alone.write_bytes(early.read_bytes())
    galab("report", alone, "-o", "mine.html", "-q")
    assert "Nothing has been logged yet." in words(read(Path("mine.html")))


@pytest.mark.slow
def test_a_group_pools_its_runs_and_shows_each(galab: Any) -> None:
    flags = ["--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--threads", "1"]
    flags += ["--generations", "4", "--report-every", "2", "--jobs", "1", "-q", "--name", "grid", "--seeds", "0-1"]
    galab("sweep", *flags, "--grid", "children=6,7")
    galab("compare", "runs/grid", "--by", "children")
    (Path("runs/grid/children=6/seed_1") / "status.json").write_text("{")
    galab("report", "runs/grid", "--analyses", "memory", "-q")
    found = read(Path("runs/grid/analysis/report.html"))
    text = words(found)
    for expected in ("4 runs", "2 configurations", "children=7/seed_1", "What the groups differ in:",
                     "children=6/seed_1: expected JSON", "children=6/seed_0: 0 analyses, 1 not made",
                     "compare"):  # fmt: skip
        assert expected in text, expected
    # Five pooled figures and that of the comparison.
    assert len(found.images) >= 5
    results = [
        json.loads((Path("runs/grid/children=7") / f"seed_{seed}" / "status.json").read_text())["result"]
        for seed in (0, 1)
    ]
    assert f"{sum(one['test_accuracy'] for one in results) / 2:.4f} [" in text


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_sentence(
    sentence: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evolve()
    (run / "analysis").write_text("in the way")
    assert "name a file with -o" in sentence("report", run, "-q")


@pytest.mark.slow
def test_the_doctor_runs_no_code_that_nobody_here_has_run(galab: Any, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    text = "from galab.tasks import load_task\n\ndef own():\n    return load_task('digits', 'auto', run_key=0)\n"
    code.write_text(text)
    galab("run", *SMALL_ES, "--task", f"{code}:own", "--name", "own", "-q")
    code.write_text(f"{text}\nimport pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    galab("report", "runs/own", "--doctor", "0.01", "-q")
    assert not (tmp_path / "ran").exists()
    assert "expected code that you have run before" in words(read(Path("runs/own/analysis/report.html")))
    galab("report", "runs/own", "--doctor", "0.01", "--trust", "-q")
    assert (tmp_path / "ran").exists()
