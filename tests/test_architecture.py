"""The rules of the house (which package may import which) and of style, as tests over the source text."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from house import (
    DOOR,
    FLOORS,
    MAX_FILE_LINES,
    MAX_FILES,
    MAX_FUNCTION_LINES,
    PACKAGE,
    ROOT,
    circles,
    graph,
    home,
    imports,
    module_name,
    sources,
)

SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = SOURCES + [path for top in ("tests", "bench", "analysis") for path in sorted((ROOT / top).rglob("*.py"))]
#: Packages that ``galab --help`` imports: Python's own library and NumPy's types, nothing slow.
LIGHT = ("errors", "contracts", "version", "config")
#: Several rules read the same files.
parse = functools.cache(ast.parse)
#: Other people's packages under the name that they are imported by.
DISTRIBUTION = {"sklearn": "scikit-learn", "ale_py": "ale-py", "PIL": "pillow"}


def upward_arrows(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every import in ``source`` that does not go down, as sentences."""
    here = home(module)
    if here == DOOR and module != DOOR:
        return [f"{module} is on no floor of the house; give its package a row in FLOORS (tests/house.py)"]
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for item in imports(parse(source), package):
        root = item.target.partition(".")[0]
        if root == "galab":
            there = home(item.target)
            if there != here and FLOORS[there] >= FLOORS[here]:
                found.append(
                    f"{module}:{item.line} imports {item.target}: '{here}' is on floor {FLOORS[here]}, '{there}' on "
                    f"floor {FLOORS[there]}"
                )
        elif here in LIGHT and root not in {*sys.stdlib_module_names, "numpy"}:
            if not (here == "contracts" and item.typing_only and root == "torch"):
                found.append(f"{module}:{item.line} imports {item.target}: '{here}' has only Python and NumPy")
        elif root in ("analysis", "tests", "bench"):
            found.append(f"{module}:{item.line} imports {item.target}: galab stands without that folder")
    return found


def long_functions(source: str) -> list[str]:
    """The functions with more lines than the house allows, decorators aside."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(parse(source)) if isinstance(node, kinds)]
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

    tree = parse(source)
    return [*([] if ast.get_docstring(tree) or not tree.body else ["the module"]), *below(tree, "")]


def prints(source: str) -> list[int]:
    """The lines that write to the terminal."""
    calls = [node for node in ast.walk(parse(source)) if isinstance(node, ast.Call)]
    written = ("print", "sys.stdout.write", "sys.stderr.write")
    return [node.lineno for node in calls if ast.unparse(node.func) in written]


def test_arrows_go_down_only() -> None:
    found = [upward_arrows(path.read_text(), module_name(path), path.name == "__init__.py") for path in SOURCES]
    assert not [sentence for sentences in found for sentence in sentences]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph(sources())) == []


def test_each_package_stands_on_one_of_ten_floors() -> None:
    folders = {".".join(path.parent.relative_to(PACKAGE).parts) for path in SOURCES} - {""}
    assert folders <= set(FLOORS)
    assert all(0 <= floor <= 10 for floor in FLOORS.values())


def test_files_are_few_and_short_and_so_are_functions() -> None:
    assert len(SOURCES) <= MAX_FILES
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in EVERYTHING}
    assert not {name: length for name, length in lengths.items() if length > MAX_FILE_LINES}
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text()) for path in EVERYTHING}
    assert not {name: sentences for name, sentences in found.items() if sentences}


def test_public_names_are_documented() -> None:
    found = {str(path.relative_to(ROOT)): undocumented(path.read_text()) for path in SOURCES}
    assert not {name: names for name, names in found.items() if names}


def test_only_the_command_line_prints() -> None:
    found = {str(path.relative_to(ROOT)): prints(path.read_text()) for path in SOURCES if "cli" not in path.parts}
    assert not {name: lines for name, lines in found.items() if lines}


def test_no_source_imports_what_setup_cfg_does_not_ask_for() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
    known = {re.split(r"[<>=\[ ]", line, maxsplit=1)[0] for line in asked.splitlines() if line and line[0] != "#"}
    found = {
        item.target.partition(".")[0]
        for path in SOURCES
        for item in imports(parse(path.read_text()), module_name(path))
    }
    others = found - set(sys.stdlib_module_names) - {"galab"}
    assert {DISTRIBUTION.get(name, name) for name in others} <= known


def in_python(script: str, *arguments: str) -> str:
    """What a fresh interpreter printed to stdout; it must have ended well."""
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("run", "--help"), ("analyze", "--help")])
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
        allowed = {"numpy"} if "analyze" in sys.argv else set()  # an analysis says there what may be chosen
        loaded = [name for name in slow if name in sys.modules and name not in allowed]
        assert not loaded, f"help imported {loaded}"
    """
    assert in_python(script, *arguments).startswith(("Usage: galab", "galab, version"))


@pytest.mark.slow
def test_every_module_imports_on_its_own_and_without_the_extras() -> None:
    """Each module is imported with the rest of galab forgotten, so a circle between modules shows from either end."""
    script = """
        import functools, importlib, sys, traceback
        from importlib.machinery import SourceFileLoader

        # Each file is compiled once, also where Python is told to write no bytecode.
        compiled = functools.cache(lambda name, path: get_code(SourceFileLoader(name, path), name))
        get_code = SourceFileLoader.get_code
        SourceFileLoader.get_code = lambda loader, name: compiled(name, loader.path)

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                extras = "mlxtend sklearn safetensors gymnasium ale_py pytest hypothesis"
                if name.partition(".")[0] in extras.split():
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
        ("galab.genome.births", "from galab import operators", "operators"),
        ("galab.genome.births", "import galab.operators.selection as r", "operators"),
        ("galab.genome.births", "import galab", "galab"),
        ("galab.genome.births", "from galab import run", "galab"),
        ("galab.operators.mutation.dense", "from galab.tasks.images import mnist", "tasks"),
        ("galab.operators.mutation.dense", "from galab.operators import selection", "operators"),
        ("galab.operators.selection", "from galab.tasks import load", "tasks"),
        ("galab.models.mlp", "from galab.operators import crossover", "operators"),
        ("galab.tasks.data.idx", "from ..images import mnist", "tasks"),
        ("galab.tasks.images", "from galab.models.mlp import MLP", "models"),
        ("galab.storage.files", "from galab.genome.births import BIRTH", "genome"),
        ("galab.evaluation.executors.local", "def late():\n    from galab.training import loop", "training"),
        (
            "galab.evaluation.batched.dense",
            "class A:\n    def late(self):\n        import galab.evaluation",
            "evaluation",
        ),
        (
            "galab.training.loop",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from galab.cli import x",
            "cli",
        ),
        ("galab.training.loop", "try:\n    import galab.cli\nexcept ImportError:\n    pass", "cli"),
        ("galab.training.loop", "import importlib\nimportlib.import_module('galab.cli')", "cli"),
        ("galab.training.loop", "from galab.analysis import cosines", "analysis"),
        ("galab.training.loop", "from galab.training.trials import sweep", "trials"),
        ("galab.training.loop", "from analysis import does_sex_help", "analysis"),
        ("galab.saved_runs.history", "from galab.training.trials import sweep", "trials"),
        ("galab.analysis.questions.trials", "from galab.cli import question_script", "cli"),
        ("galab.config.registry", "def late():\n    import torch", "torch"),
        ("galab.contracts", "import torch", "torch"),
        ("galab.config.fields", "if TYPE_CHECKING:\n    import torch", "torch"),
        ("galab.errors", "from .storage import files", "storage"),
        ("galab.presets.tuned", "import json", "presets"),
    ],
)
def test_the_checker_sees_a_planted_arrow(module: str, line: str, culprit: str) -> None:
    source = f'"""A module."""\n{line}\n'
    assert [sentence for sentence in upward_arrows(source, module) if culprit in sentence]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("galab.operators.mutation.dense", "from galab.genome import random"),
        ("galab.operators.selection", "from ..genome.births import BIRTH"),
        ("galab.genome.births", "from . import random\nfrom .random import codes\nfrom galab.storage import files"),
        ("galab.tasks.images", "from galab.tasks.data import idx\nfrom galab.genome.random import draw"),
        ("galab.config.fields", "from galab.errors import UsageError\nfrom galab.config import registry\nimport numpy"),
        ("galab.contracts", "if typing.TYPE_CHECKING:\n    import torch\n    from numpy.typing import NDArray"),
        ("galab.cli.main", "from galab.version import __version__\nfrom galab.training import loop"),
        ("galab", "def run():\n    from galab.training import loop"),
        ("galab.training.loop", "import torch\nfrom galab.version import __version__"),
    ],
)
def test_the_checker_lets_honest_arrows_pass(module: str, line: str) -> None:
    assert upward_arrows(f'"""A module."""\n{line}\n', module) == []


def test_a_circle_is_seen_from_any_end() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_package_resolves_its_dots_one_level_less() -> None:
    assert upward_arrows("from ..cli import x", "galab.training", is_package=True)
    assert not upward_arrows("from .loop import x", "galab.training", is_package=True)


def test_the_checkers_of_style_see_planted_faults() -> None:
    body = "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    assert long_functions(f"class A:\n  def f():\n{body}") == []
    assert long_functions(f"@mark\ndef f():\n{body}    y = 2\n") == ["f has 61 lines"]
    source = '"""M."""\nclass A:\n  def f(self): ...\n  def _g(self): ...\nif 1:\n  def h(): ...\ndef _i(): ...\n'
    assert undocumented(source) == ["A", "A.f", "h"]
    assert undocumented("x = 1") == ["the module"]
    assert prints("import sys\nprint(1)\nsys.stdout.write('')\nlog.info('print')") == [2, 3]
