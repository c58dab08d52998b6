"""The house (which layer may import which) and the house style, as tests over the source text."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "galab"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = SOURCES + [path for top in ("tests", "bench", "analysis") for path in sorted((ROOT / top).rglob("*.py"))]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60

#: The public door, ``galab/__init__.py`` and ``galab/__main__.py``.
DOOR = "galab"
LAYER = {
    **dict.fromkeys(("errors", "registry", "config", "contracts", "specs", "distribution", "options", "calls"), 0),
    **dict.fromkeys(("schedules", "evolution_options", "memories", "compatibility"), 0),
    **dict.fromkeys(("population_compatibility", "evolution_compatibility", "gradient_compatibility"), 0),
    "store": 1,
    **dict.fromkeys(("genome", "mutation", "breeding", "perturbation", "models", "tasks", "data"), 2),
    **{"strategies": 3, "evaluation": 4, "lab": 5, "training": 5, "saved_runs": 5, "analysis": 5},
    **{"questions": 6, "cli": 7, DOOR: 7},
}
#: Arrows allowed inside a layer; layer 0 is one room.
SIDEWAYS = {("mutation", "genome"), ("breeding", "genome"), ("perturbation", "genome"), ("tasks", "data")}
SIDEWAYS |= {("cli", DOOR), (DOOR, "cli")}
# Exact random numbers, and nothing else of genomes; and what a bank of memories does, for the log.
SIDEWAYS |= {("tasks", "genome.noise"), ("models", "genome.noise"), ("lab", "analysis.memory")}
# Parts of the lab that have moved out of it.
SIDEWAYS |= {("training", "lab"), ("lab", "training"), ("saved_runs", "lab"), ("lab", "saved_runs")}
SIDEWAYS |= {("saved_runs", "training")}
#: Other people's packages under the name that they are imported by.
DISTRIBUTION = {"sklearn": "scikit-learn"}


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a module imports, at ``line``; ``typing_only`` under ``if TYPE_CHECKING``."""

    target: str
    line: int
    typing_only: bool


def module_name(path: Path) -> str:
    """``galab/genome/__init__.py`` as ``galab.genome``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node: ast.AST, package: str, typing_only: bool = False) -> Iterator[Import]:
    """Everything imported below ``node``, in functions and under TYPE_CHECKING too; ``package`` resolves dots."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, typing_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{base}.{alias.name}", child.lineno, typing_only) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(ast.Module(child.body, []), package, True)
            yield from imports(ast.Module(child.orelse, []), package, typing_only)
        else:
            if isinstance(child, ast.Call) and ast.unparse(child.func).endswith(("import_module", "__import__")):
                names = [item.value for item in child.args[:1] if isinstance(item, ast.Constant)]
                yield from (Import(name, child.lineno, typing_only) for name in names)
            yield from imports(child, package, typing_only)


def room(target: str) -> str:
    """The part of galab that a dotted name lies in: ``galab.genome.births`` lies in ``genome``."""
    parts = target.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else DOOR


def layer_violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every import in ``source`` that does not go down, as sentences."""
    home = room(module)
    if home not in LAYER:
        return [f"{module} is in no layer of the house; give '{home}' a place in LAYER"]
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for item in imports(ast.parse(source), package):
        root = item.target.partition(".")[0]
        if item.target == "galab.__version__":
            continue  # a fact about the whole, not an arrow
        if root == "galab":
            # ``from galab import name`` is the door's, unless the name is a part of the house.
            away = room(item.target) if room(item.target) in LAYER else DOOR
            beside = {(home, away), (home, ".".join(item.target.split(".")[1:3]))} & SIDEWAYS
            down = LAYER[away] < LAYER[home] or away == home or beside
            if not down and not LAYER[away] == LAYER[home] == 0:
                found.append(f"{module}:{item.line} imports {item.target}: '{home}' may not know '{away}'")
        elif LAYER[home] == 0 and root not in {*sys.stdlib_module_names, "numpy"}:
            if not (home == "contracts" and item.typing_only and root == "torch"):
                found.append(f"{module}:{item.line} imports {item.target}: layer 0 has only Python and NumPy")
        elif root in ("analysis", "tests", "bench"):
            found.append(f"{module}:{item.line} imports {item.target}: galab stands without that folder")
    return found


def long_functions(source: str) -> list[str]:
    """The functions with more lines than the house allows, decorators aside."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    lengths = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]
    return [f"{name} has {length} lines" for name, length in lengths if length > MAX_FUNCTION_LINES]


def undocumented(source: str) -> list[str]:
    """The public module, classes, functions and methods without a docstring."""

    def below(node: ast.AST, prefix: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If | ast.Try):
                yield from below(child, prefix)
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            marks = [ast.unparse(mark) for mark in child.decorator_list]
            if child.name.startswith("_") or any(mark.endswith((".setter", "overload")) for mark in marks):
                continue
            if ast.get_docstring(child) is None:
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from below(child, f"{prefix}{child.name}.")

    tree = ast.parse(source)
    return [*([] if ast.get_docstring(tree) or not tree.body else ["the module"]), *below(tree, "")]


def prints(source: str) -> list[int]:
    """The lines that write to the terminal."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    written = ("print", "sys.stdout.write", "sys.stderr.write")
    return [node.lineno for node in calls if ast.unparse(node.func) in written]


def relative(path: Path) -> str:
    """The name of a test's case."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_arrows_go_down_only(path: Path) -> None:
    assert not layer_violations(path.read_text(), module_name(path), path.name == "__init__.py")


@pytest.mark.parametrize("path", EVERYTHING, ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert not long_functions(source)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_public_names_are_documented(path: Path) -> None:
    assert not undocumented(path.read_text())


@pytest.mark.parametrize("path", [path for path in SOURCES if "cli" not in path.parts], ids=relative)
def test_only_the_command_line_prints(path: Path) -> None:
    assert not prints(path.read_text())


def test_no_source_imports_what_setup_cfg_does_not_ask_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
    known = {re.split(r"[<>=\[ ]", line, maxsplit=1)[0] for line in asked.splitlines() if line and line[0] != "#"}
    found = {
        item.target.partition(".")[0]
        for path in SOURCES
        for item in imports(ast.parse(path.read_text()), module_name(path))
    }
    others = found - set(sys.stdlib_module_names) - {"galab"}
    assert {DISTRIBUTION.get(name, name) for name in others} <= known


def in_python(script: str, *arguments: str) -> str:
    """What a fresh interpreter printed to stdout; it must have ended well."""
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_help_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    script = """
        import sys
        from galab.cli import main
        sys.argv = ["galab", *sys.argv[1:]]
        try:
            main()
        except SystemExit as end:
            assert not end.code, end.code
        slow = ("torch", "numpy", "scipy", "sklearn", "mlxtend", "matplotlib", "pandas", "tensorboard", "pooch")
        loaded = [name for name in slow if name in sys.modules]
        assert not loaded, f"help imported {loaded}"
    """
    assert "Usage: galab" in in_python(script, *arguments)


def test_every_module_imports_on_its_own_and_without_the_extras() -> None:
    """Each module is imported with the rest of galab forgotten, so a circle between modules shows from either end."""
    script = """
        import importlib, sys, traceback

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("mlxtend", "sklearn", "safetensors", "pytest", "hypothesis"):
                    raise ModuleNotFoundError(f"{name} belongs to an extra", name=name)

        sys.meta_path.insert(0, Refuse())
        for name in sys.argv[1:]:
            for known in [known for known in sys.modules if known.partition(".")[0] == "galab"]:
                del sys.modules[known]
            try:
                importlib.import_module(name)
            except BaseException:
                print(f"{name}: {traceback.format_exc(limit=-1)}")
    """
    names = [module_name(path) for path in SOURCES if path.name != "__main__.py"]
    assert in_python(script, *names) == ""


@pytest.mark.parametrize(
    ("module", "line", "culprit"),
    [
        ("galab.genome.births", "from galab.strategies import genetic", "strategies"),
        ("galab.genome.births", "from galab import mutation", "mutation"),
        ("galab.genome.births", "import galab.operators.selection as r", "breeding"),
        ("galab.genome.births", "import galab", "galab"),
        ("galab.genome.births", "from galab import run", "galab"),
        ("galab.operators.mutation.dense", "from galab.tasks.images import mnist", "tasks"),
        ("galab.operators.mutation.dense", "from galab.operators import ranking", "breeding"),
        ("galab.operators.selection", "from galab.tasks.data import idx", "data"),
        ("galab.models.mlp", "from galab.genome import births", "genome"),
        ("galab.tasks.data.idx", "from ..tasks import images", "tasks"),
        ("galab.tasks.images", "from galab.models.mlp import MLP", "models"),
        ("galab.tasks.images", "from galab.genome import births", "genome"),
        ("galab.storage.pickle_format", "from galab.genome.births import BIRTH", "genome"),
        ("galab.evaluation.executors.local", "def late():\n    from galab.training import loop", "lab"),
        ("galab.evaluation.executors.local", "class A:\n    def late(self):\n        import galab.training.loop", "lab"),
        ("galab.training.loop", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from galab.cli import x", "cli"),
        ("galab.training.loop", "try:\n    import galab.cli\nexcept ImportError:\n    pass", "cli"),
        ("galab.training.loop", "import importlib\nimportlib.import_module('galab.cli')", "cli"),
        ("galab.training.loop", "from galab.analysis import curves", "analysis"),
        ("galab.training.loop", "from analysis import does_sex_help", "analysis"),
        ("galab.training.loop", "from galab.analysis.questions import question", "questions"),
        ("galab.analysis.questions.trials", "from galab.cli import asking", "cli"),
        ("galab.config.registry", "def late():\n    import torch", "torch"),
        ("galab.contracts", "import torch", "torch"),
        ("galab.config.fields", "if TYPE_CHECKING:\n    import torch", "torch"),
        ("galab.errors", "from .store import plain", "store"),
        ("galab.presets.tuned", "import json", "presets"),
    ],
)
def test_the_checker_sees_a_planted_arrow(module: str, line: str, culprit: str) -> None:
    source = f'"""A module."""\n{line}\n'
    assert [sentence for sentence in layer_violations(source, module) if culprit in sentence]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("galab.operators.mutation.dense", "from galab.genome import noise"),
        ("galab.operators.selection", "from ..genome.births import BIRTH"),
        ("galab.genome.births", "from . import noise\nfrom .noise import codes\nfrom galab.storage import plain"),
        ("galab.tasks.images", "from galab.tasks.data import idx\nfrom galab.genome.random import draw"),
        ("galab.config.fields", "from galab.errors import UsageError\nfrom galab import registry\nimport numpy as np"),
        ("galab.contracts", "if typing.TYPE_CHECKING:\n    import torch\n    from numpy.typing import NDArray"),
        ("galab.cli.main", "from galab import __version__\nfrom galab.training import loop"),
        ("galab", "def run():\n    from galab.training import loop"),
        ("galab.training.loop", "import torch\nfrom galab import __version__"),
    ],
)
def test_the_checker_lets_honest_arrows_pass(module: str, line: str) -> None:
    assert layer_violations(f'"""A module."""\n{line}\n', module) == []


def test_a_package_resolves_its_dots_one_level_less() -> None:
    assert layer_violations("from ..cli import x", "galab.training", is_package=True)
    assert not layer_violations("from .loop import x", "galab.training", is_package=True)


def test_the_checkers_of_style_see_planted_faults() -> None:
    body = "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    assert long_functions(f"class A:\n  def f():\n{body}") == []
    assert long_functions(f"@mark\ndef f():\n{body}    y = 2\n") == ["f has 61 lines"]
    source = '"""M."""\nclass A:\n  def f(self): ...\n  def _g(self): ...\nif 1:\n  def h(): ...\ndef _i(): ...\n'
    assert undocumented(source) == ["A", "A.f", "h"]
    assert undocumented("x = 1") == ["the module"]
    assert prints("import sys\nprint(1)\nsys.stdout.write('')\nlog.info('print')") == [2, 3]
