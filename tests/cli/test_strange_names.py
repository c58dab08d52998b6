"""Names with spaces and letters of any alphabet: what is printed can be pasted, and what cannot be is a sentence."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from galab.storage.run_folder import RunFolder

FLAGS = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--threads", "1",
    "--generations", "2", "--seed", "5",
]  # fmt: skip
STRANGE = Path("my runs; it's $HOME")


def commands(text: str) -> list[list[str]]:
    """The words of the commands after "next:", as a shell takes them."""
    return [shlex.split(line) for line in text.partition("next:\n")[2].splitlines() if line.startswith("  ")]


def test_the_commands_after_a_run_or_trials_can_be_pasted(galab: Any) -> None:
    run = str(STRANGE / "a b")
    alone = commands(galab("run", *FLAGS, "--runs", STRANGE, "--name", "a b").out)
    assert [words[1:] for words in alone] == [
        ["show", run], ["evaluate", run], ["resume", run, "--generations", "4"], ["--logdir", str(STRANGE)],
    ]  # fmt: skip
    several = commands(galab("run", *FLAGS[:-2], "--seeds", "1-2", "--runs", STRANGE, "--name", "c d", "--jobs", 1).out)
    group = str(STRANGE / "c d")
    assert [words[1:] for words in several] == [["show", group], ["compare", group], ["--logdir", group]]
    for words in (*alone[:3], several[0]):
        galab(*words[1:])


def test_the_commands_in_sentences_can_be_pasted(galab: Any, sentence: Any) -> None:
    run = STRANGE / "a b"
    galab("run", *FLAGS, "--runs", STRANGE, "--name", "a b", "-q")
    (STRANGE / "lone file.pkl").write_bytes((run / "checkpoints" / "gen_000002.pkl").read_bytes())
    said = [
        sentence("run", *FLAGS, "--runs", STRANGE, "--name", "a b"),
        sentence("resume", run, "--children", 9, code=2),
        sentence("resume", STRANGE / "lone file.pkl", code=2),
        sentence("bench", STRANGE / "lone file.pkl", code=2),
    ]
    for text in said:
        (command,) = re.findall(r"`(galab .*)`", text)
        assert any(word.startswith(str(STRANGE) + "/") for word in shlex.split(command)), text


def test_the_commands_in_a_report_can_be_pasted(tmp_path: Path) -> None:
    from galab.analysis.report.facts import facts_of
    from galab.analysis.report.html import provenance
    from galab.config import RunConfig
    from galab.training.start_or_resume import start

    config = RunConfig(task="digits", hidden="4", parents=3, children=6, batch=32, threads=1, generations=1)
    result = start(config, name="a b", runs=tmp_path / STRANGE)
    home = str(result.folder.path)
    found = [shlex.split(command) for _, command in provenance(facts_of(result.folder.path))["commands"][1:]]
    assert found == [
        ["galab", "run", "--config", f"{home}/config.json"], ["galab", "resume", home], ["galab", "verify", home],
    ]  # fmt: skip


@pytest.mark.parametrize("command", [["list"], ["run", *FLAGS], ["sweep", "--grid", "elites=0", *FLAGS[:-2]]])
def test_a_file_is_no_folder_of_runs(sentence: Any, command: list[str]) -> None:
    Path("file").touch()
    for place in ("file", "file/below"):
        said = sentence(*command, "--runs", place, code=2)
        assert said.endswith(f"expected a folder of runs at '{place}' (--runs), got the file 'file'; name a folder")


def test_a_name_that_was_typed_in_letters_the_locale_lacks_is_a_sentence(galab: Any, sentence: Any) -> None:
    said = sentence("run", *FLAGS, "--name", os.fsdecode(b"caf\xe9\xff"), code=2)
    assert "expected a run's name in letters of this locale" in said
    assert "set LC_ALL to one with UTF-8, such as C.UTF-8, or use plain letters" in said
    galab("run", *FLAGS, "--name", "café", "-q")
    assert RunFolder(Path("runs/café")).read_status() is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a locale without UTF-8")
def test_a_path_is_printed_as_it_was_typed_in_any_locale() -> None:
    line = [sys.executable, "-c", "from galab.cli import main; main()", "run", *FLAGS, "--runs", "café"]
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(line, capture_output=True, env=ascii_only, check=True, timeout=120)
    assert ["show", "café/digits-ga"] in [words[1:] for words in commands(done.stdout.decode())]
