"""The package of the configuration: no circle, and nothing slow to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import galab.config

FOLDER = Path(galab.config.__file__).parent


def test_no_file_imports_another_in_a_circle() -> None:
    """Wherever an import stands: in functions and under TYPE_CHECKING too."""
    graph: dict[str, set[str]] = {}
    for path in FOLDER.glob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        modules = [node.module or "" for node in nodes]
        graph[f"galab.config.{path.stem}"] = {name for name in modules if name.startswith("galab.config")}
    assert all("galab.config" not in targets for targets in graph.values())
    assert list(TopologicalSorter(graph).static_order())


def test_it_needs_nothing_but_python() -> None:
    script = "import sys, galab.config; assert not {'torch', 'numpy', 'click', 'scipy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
