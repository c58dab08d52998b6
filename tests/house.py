"""The house: which packages there are, on which floor each stands, and what imports what.

``python tests/house.py`` prints the floors, the sizes, the import circles and the modules with a single importer.
``tests/test_architecture.py`` enforces the rules. Imports inside functions and under TYPE_CHECKING count like any
other.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "galab"
MAX_FILES, MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 500, 60

#: The public door, ``galab/__init__.py``.
DOOR = "galab"
#: The floor of each package. A module imports modules of its own package and of lower floors, nothing else.
FLOORS = {
    "errors": 0, "contracts": 0, "version": 0, "stats": 1,
    "config": 1, "storage": 1, "tasks.data": 1,
    "genome": 2, "integer": 2,
    "models": 3, "operators": 3, "operators.mutation": 3, "tasks": 3, "evaluation.batched": 3,
    "evaluation": 4, "strategies": 4,
    "evaluation.executors": 5,
    "training": 6,
    "training.trials": 7, "saved_runs": 7,
    "doctor": 8, "api": 8, "analysis": 8,
    "analysis.questions": 9, "analysis.report": 9,
    "cli": 10, DOOR: 10,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a module imports, at ``line``; ``typing_only`` under ``if TYPE_CHECKING``."""

    target: str
    line: int
    typing_only: bool


def module_name(path: Path, root: Path = ROOT) -> str:
    """``galab/genome/__init__.py`` as ``galab.genome``."""
    parts = path.relative_to(root).with_suffix("").parts
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


def home(target: str) -> str:
    """The package of FLOORS that a dotted name lies in: ``galab.tasks.data.idx`` lies in ``tasks.data``."""
    parts = target.split(".")[1:]
    if parts == ["__main__"]:  # `python -m galab` is the command line
        return "cli"
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in FLOORS:
            return name
    return DOOR


def sources() -> dict[str, Path]:
    """Every module of galab by its dotted name."""
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which module imports which. A name out of a package's ``__init__`` is an arrow to the package."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for item in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            target = item.target
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target and target != module:
                arrows[module].add(target)
    return arrows


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a circle (Tarjan 1972, strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def single_importers(arrows: Mapping[str, set[str]]) -> dict[str, str]:
    """Each module that exactly one other module of galab imports, with that module; registry entries are not seen."""
    by: dict[str, set[str]] = defaultdict(set)
    for module, targets in arrows.items():
        for target in targets:
            by[target].add(module)
    return {module: next(iter(users)) for module, users in sorted(by.items()) if len(users) == 1}


def main() -> None:
    """Print the house."""
    modules = sources()
    arrows = graph(modules)
    rooms: dict[str, list[int]] = defaultdict(list)
    for module, path in modules.items():
        rooms[home(module)].append(len(path.read_text(encoding="utf-8").splitlines()))
    for name, floor in sorted(FLOORS.items(), key=lambda item: (item[1], item[0])):
        print(f"floor {floor:2}  {name:22} {len(rooms[name]):3} files {sum(rooms[name]):6,} lines")
    longest = max(lines for room in rooms.values() for lines in room)
    print(f"{len(modules)} files, {sum(map(sum, rooms.values())):,} lines, the longest {longest}")
    print(f"{len(circles(arrows))} import circles", *circles(arrows), sep="\n  ")
    singles = single_importers(arrows)
    print(f"{len(singles)} modules with a single importer")
    for module, user in singles.items():
        print(f"  {module} <- {user}")


if __name__ == "__main__":
    main()
