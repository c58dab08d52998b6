"""Names: known, unknown, from plugins, from modules and from files."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from galab.config import registry
from galab.config.registry import MODELS, TASKS, Registry
from galab.errors import UsageError

ALL = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
ENTRIES = [(group, name) for group, table in ALL.items() for name in table.names()]


@pytest.fixture
def shapes() -> Registry:
    """A small registry over the standard library."""
    table = {"square": "math:sqrt", "circle": "math:pi", "absent": "math:no_such", "gone": "no_such_module:thing"}
    return Registry("shape", "galab.test_shapes", table, "galab shapes")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds a shape, and tries to replace a built-in one."""
    installed = [
        EntryPoint(name="plugged", value="math:tau", group="galab.test_shapes"),
        EntryPoint(name="circle", value="math:e", group="galab.test_shapes"),
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group: [entry for entry in installed if entry.group == group]
    )


@pytest.mark.parametrize(("group", "name"), ENTRIES, ids=[f"{group}-{name}" for group, name in ENTRIES])
def test_every_registered_name_loads(group: str, name: str) -> None:
    assert callable(ALL[group].load(name))


def test_registries_are_found_and_have_entry_point_groups_of_their_own() -> None:
    assert {"TASKS", "MODELS", "STRATEGIES", "MUTATIONS", "STEP_SIZE_RULES"} <= set(ALL)
    groups = [table.group for table in ALL.values()]
    assert len(set(groups)) == len(groups)
    assert all(group.startswith("galab.") for group in groups)


def test_a_known_name_loads_what_the_table_says(shapes: Registry) -> None:
    import math

    assert shapes.load("square") is math.sqrt
    assert shapes.names() == ["square", "circle", "absent", "gone"]


def test_a_row_may_have_a_summary() -> None:
    import math

    several = Registry("shape", "galab.test_shapes", {"a": ("math:pi", "Round."), "b": "math:e"}, "galab shapes")
    assert (several.load("a"), several.load("b")) == (math.pi, math.e)
    assert (several.summary("a"), several.summary("b"), several.summary("c")) == ("Round.", "", "")


def test_listing_and_checking_import_nothing(shapes: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "import_reference", lambda *_: pytest.fail("imported"))
    shapes.names()
    shapes.check("gone")
    shapes.check("anything:at_all")


@pytest.mark.parametrize("ask", ["load", "check"])
def test_an_unknown_name_answers_with_the_closest_and_the_listing_command(shapes: Registry, ask: str) -> None:
    with pytest.raises(UsageError) as caught:
        getattr(shapes, ask)("sqare")
    assert str(caught.value) == "no shape is called 'sqare'. Did you mean 'square'? `galab shapes` lists the names."
    assert caught.value.exit_code == 2


def test_a_name_unlike_all_others_suggests_nothing(shapes: Registry) -> None:
    with pytest.raises(UsageError, match=r"^no shape is called 'zzz'\. `galab shapes` lists the names\.$"):
        shapes.load("zzz")


@pytest.mark.parametrize(("table", "typed", "meant"), [(TASKS, "mnits", "mnist"), (MODELS, "mpl", "mlp")])
def test_real_registries_suggest_too(table: Registry, typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{meant}'"):
        table.check(typed)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_adds_names_and_replaces_none(shapes: Registry) -> None:
    import math

    assert shapes.names() == ["square", "circle", "absent", "gone", "plugged"]
    assert shapes.load("plugged") == math.tau
    assert shapes.load("circle") == math.pi
    shapes.check("plugged")
    with pytest.raises(UsageError, match="Did you mean 'plugged'"):
        shapes.check("pluged")


def test_an_absent_attribute_names_the_module(shapes: Registry) -> None:
    with pytest.raises(UsageError, match="math has no 'no_such'"):
        shapes.load("absent")


def test_an_absent_module_is_named(shapes: Registry) -> None:
    with pytest.raises(UsageError, match="needs the module 'no_such_module'"):
        shapes.load("gone")


def test_a_reference_to_a_module_is_taken_as_it_stands(shapes: Registry) -> None:
    from collections import OrderedDict

    assert shapes.load("collections:OrderedDict") is OrderedDict


def test_a_misspelt_attribute_of_a_module_is_suggested(shapes: Registry) -> None:
    with pytest.raises(UsageError, match="collections has no 'OrderedDic'. Did you mean 'OrderedDict'"):
        shapes.load("collections:OrderedDic")


@pytest.mark.parametrize("reference", [":", ":Net", "nets:", "..nets:Net"])
def test_half_a_reference_is_a_usage_error(shapes: Registry, reference: str) -> None:
    with pytest.raises(UsageError, match="FILE.py:Name"):
        shapes.load(reference)


def test_a_class_from_a_file(shapes: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text("class Net:\n    width = 7\n")
    assert shapes.load(f"{tmp_path / 'nets.py'}:Net").width == 7
    monkeypatch.chdir(tmp_path)
    assert shapes.load("nets.py:Net").width == 7
    assert shapes.load("./nets.py:Net").width == 7
    assert "nets" not in sys.modules, "a user's file must not hide an installed module"


def test_a_file_is_run_as_it_is_now(shapes: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode would be taken for that of a file with the same length and the same second of its last change."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "nets.py"
    for width in (7, 8):
        path.write_text(f"class Net:\n    width = {width}\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert shapes.load(f"{path}:Net").width == width


def test_an_absent_file_says_from_where_it_was_looked_for(
    shapes: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="expected a Python file at 'nets.py', found none") as caught:
        shapes.load("nets.py:Net")
    assert str(tmp_path) in str(caught.value)


def test_an_absent_class_in_a_file_is_suggested(shapes: Registry, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("class Network:\n    pass\n")
    with pytest.raises(UsageError, match="has no 'Netwrk'. Did you mean 'Network'"):
        shapes.load(f"{tmp_path / 'nets.py'}:Netwrk")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Net(:\n", "SyntaxError"),
        ("Net = 1 / 0\n", "ZeroDivisionError"),
        ("import no_such_module\n", "needs the module 'no_such_module'"),
    ],
)
def test_a_file_that_does_not_run_is_one_sentence(shapes: Registry, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UsageError, match=said):
        shapes.load(f"{tmp_path / 'broken.py'}:Net")
