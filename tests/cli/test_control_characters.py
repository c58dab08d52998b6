"""What a stranger's files say is shown, and never obeyed by the terminal."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hostile_driver import RAW
from hostile_files import CONTROLS

from galab.errors import CheckpointError, printable, printable_data
from galab.storage import checkpoints, pickle_format

SMALL = ["--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--generations", "2"]
CLI = Path(__file__).resolve().parents[2] / "galab" / "cli"


def test_control_characters_are_spelt_out() -> None:
    assert printable("\x1b[31mred\x07\x9b\x7f") == r"\u001b[31mred\u0007\u009b\u007f"
    assert printable("a\u202eb\u2066c\u2028d\u200fe\u061cf\ud800") == r"a\u202eb\u2066c\u2028d\u200fe\u061cf\ud800"
    assert printable("größer 中 ▁█ 1e-3\t") == r"größer 中 ▁█ 1e-3\u0009"
    assert printable("a\nb\r\nc\rd\te", lines=True) == "a\nb\r\nc\\u000dd\te"
    assert printable("a\nb") == r"a\u000ab"
    assert printable_data({"\x1b": ["\x07", 1, None, {"a": "\x00"}]}) == {
        r"\u001b": [r"\u0007", 1, None, {"a": r"\u0000"}]
    }
    assert json.loads(printable('{"a": "\x7f\u202e"}')) == {"a": "\x7f\u202e"}


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    assert str(CheckpointError("expected a,\n got \x1b[2J\u202e")) == r"expected a,  got \u001b[2J\u202e"


def test_nothing_reaches_the_terminal_by_another_way() -> None:
    ways = re.compile(r"(?<!def )\b(click\.s?echo|print|console\.print|sys\.std(?:out|err)\.write)\(")
    found = {path.name: ways.findall(path.read_text()) for path in CLI.glob("*.py")}
    # The second is the help of a command, the third a script for the shell.
    assert {name: calls for name, calls in found.items() if calls} == {
        "output.py": ["click.echo", "console.print"], "options.py": ["click.echo"], "doctor.py": ["click.echo"],
    }  # fmt: skip


@pytest.fixture
def strange(evolve: Any) -> Path:
    """A run whose files hold control characters wherever a text may stand."""
    folder = evolve("strange")
    words = CONTROLS[:-1] + "\nsecond line"
    for _, path in checkpoints.list_checkpoints(folder / "checkpoints"):
        state = pickle_format.load(path)
        state["task"]["description"] = words
        state["versions"]["galab"] = state["numeric_profile"]["device"] = words
        state["champion"]["metrics"] = {words: 0.5}
        pickle_format.dump({**state, "log": state["log"]}, path)
    for name, changes in (("status.json", {"message": words, "result": {words: 0.5}}), ("config.json", {})):
        content = json.loads((folder / name).read_text()) | changes
        if name == "config.json":
            content["data"]["description"] = words
        (folder / name).write_text(json.dumps(content))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    lines[2] |= {"warnings": [words, 3], words: words, "fitness_std": words}
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["show"], 0), (["show", "-f", "json"], 0), (["show", "-f", "csv"], 0), (["list", "--runs"], 0),
        (["list", "-f", "json", "--runs"], 0), (["verify"], 0), (["evaluate"], 0),
        (["compare", "--metric", "fitness_best"], 0), (["report", "-q"], 0), (["resume"], 1),
    ],
)  # fmt: skip
def test_no_command_lets_them_through(galab: Any, strange: Path, command: list[str], code: int) -> None:
    said = galab(*command, strange.parent if "--runs" in command else strange, code=code)
    assert not RAW.search(said.out), said.out
    assert not RAW.search(said.err), said.err
    if command == ["show"]:
        assert said.out.startswith(f"{strange}: \\u001b[31mred")
        assert "\nsecond line" not in said.out
        assert r"\u000asecond line" in said.out
    if command == ["show", "-f", "json"]:
        assert json.loads(said.out)["task"]["description"] == CONTROLS[:-1] + "\nsecond line"


def test_a_later_formats_author_is_cleaned(sentence: Any, evolve: Any) -> None:
    folder = evolve()
    path = folder / "checkpoints" / "gen_000005.pkl"
    payload = b"".join(pickle_format.encode({"format": 2, "galab_version": "\x1b[31m9"}))
    path.write_bytes(payload + pickle_format.MAGIC + hashlib.sha256(payload).digest())
    assert r"written by galab \u001b[31m9" in sentence("show", folder)


def test_a_groups_files_are_cleaned(galab: Any, evolve: Any, tmp_path: Path) -> None:
    group = tmp_path / "runs" / "group"
    galab("run", *SMALL, "--name", "group", "-q", "--seeds", "0-1")
    for name in ("seed_0", "seed_1"):
        said_of = {"status.json": {"message": CONTROLS}, "config.json": {"data": {"description": CONTROLS}}}
        for file, changes in said_of.items():
            path = group / name / file
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    said = galab("show", group)
    assert not RAW.search(said.out + said.err)
    assert r"\u001b[31mred" in said.out
