"""Help for people: the basic options, all options, and the commands under their headings."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from galab.cli.main import cli
from galab.config import flag
from galab.config.fields import FIELDS

BASIC = [name for name, item in FIELDS.items() if not item.metadata["advanced"]]


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")


def named(text: str) -> set[str]:
    """The hyperparameters whose flag begins a line."""
    words = {line.split()[0] for line in text.splitlines() if line.startswith("  --")}
    return {name for name in FIELDS if flag(name) in words}


def test_the_help_of_run_is_one_page_of_basic_options_and_examples(galab: Any) -> None:
    lines = galab("run", "--help").out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    assert named("\n".join(lines)) == set(BASIC)
    assert 20 <= len(BASIC) <= 30
    assert [line.split()[:2] for line in lines[-3:]] == [["galab", "run"]] * 3
    assert "Examples:" in lines[-4]


@pytest.mark.parametrize("command", [("run",), ("sweep",), ("bench",), ("doctor", "es")])
def test_all_options_are_shown_on_request(galab: Any, command: tuple[str, ...]) -> None:
    assert named(galab(*command, "--help").out) == set(BASIC)
    assert named(galab(*command, "--help-all").out) == FIELDS.keys()


def test_the_examples_of_the_help_are_right(galab: Any) -> None:
    from galab.cli.options import given
    from galab.config import RunConfig

    for line in galab("run", "--help").out.splitlines()[-3:]:
        run = cli.commands["run"]
        context = run.make_context("run", line.split()[2:])
        RunConfig(**given(context.params))


def test_an_option_is_listed_with_its_strategies(galab: Any) -> None:
    assert named(galab("options").out) == FIELDS.keys()
    shown = galab("options", "population").out
    assert named(shown) == {name for name, item in FIELDS.items() if item.metadata["group"] == "Population"}
    assert "[with ga, random]" in " ".join(shown.split())
    rows = json.loads(galab("options", "optimiser", "-f", "json").out)
    assert {row["name"]: row["strategies"] for row in rows}["clip"] == "eggroll, openai-es, sgd, adam"
    rows = json.loads(galab("options", "-f", "json").out)
    assert [row["name"] for row in rows] == list(FIELDS)
    assert {row["name"]: row["strategies"] for row in rows}["task"] == "all"


def test_an_unknown_group_is_answered_with_the_closest(sentence: Any) -> None:
    assert "got 'mutations'. Did you mean 'mutation'?" in sentence("options", "mutations", code=2)


def test_a_hidden_option_works_all_the_same(galab: Any, evolve: Any) -> None:
    assert FIELDS["niche_radius"].metadata["advanced"]
    run = evolve("first", "--niche", "sharing", "--niche-radius", "0.2")
    assert json.loads(galab("show", run, "-f", "json").out)["hyperparameters"]["niche_radius"] == 0.2


def test_the_commands_stand_under_headings(galab: Any) -> None:
    lines = galab("--help").out.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Run:", "Look:", "Ask:", "Share:"]
    below = lines[lines.index("Run:") :]
    assert {line.split()[0] for line in below if line.startswith("  ")} == cli.commands.keys()
    assert not [line for line in below if line.endswith("...")]


def test_python_m_galab_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "galab", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[0]) == (0, "galab,")
