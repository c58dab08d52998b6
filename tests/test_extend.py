"""docs/extend.md, carried out: each example changes as many files as it says and works, in galab and outside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from house import PACKAGE, ROOT

TEXT = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
#: Heading to the number of files that change.
COUNTS = {"A hyperparameter": 2, "A mutation operator": 2, "A task": 2, "An analysis": 2, "A strategy": 3}
#: Where what is done inside galab ends in a section.
OUTSIDE = "\nFrom outside"
#: Runs the command lines on standard input, one after the other: torch is imported once.
DRIVER = """
import os, shlex, sys
os.fsync = lambda descriptor: None  # only a power cut needs it
import galab
from galab.cli import main
assert galab.__file__ == sys.argv[1], galab.__file__
for line in sys.stdin.read().splitlines():
    try:
        main(shlex.split(line)[1:])
    except SystemExit as end:
        assert not end.code, line
"""


class Block(NamedTuple):
    """A code block with the file that the line before it names."""

    file: str
    kind: str
    code: str


def section(heading: str) -> str:
    """The text under a heading."""
    return next(part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE) if part.startswith(heading + "\n"))


def blocks(text: str) -> list[Block]:
    """The new files and the changes that a text shows."""
    found = re.findall(r"^`([\w/.]+)`:\n\n```(python|diff)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(*one) for one in found]


def commands(text: str) -> list[str]:
    """The command lines that a text shows."""
    shown = re.findall(r"^```console\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in shown for line in block.splitlines()]


def apply(block: Block, home: Path) -> None:
    """Write a new file, or change one line for line as a diff says."""
    path = home / block.file
    if block.kind == "python":
        assert not path.exists(), path
        path.write_text(block.code, encoding="utf-8")
        return
    lines = block.code.splitlines()
    before, after = ("".join(line[1:] + "\n" for line in lines if line[0] in marks) for marks in (" -", " +"))
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1, f"{block.file} does not have these lines once:\n{before}"
    path.write_text(source.replace(before, after), encoding="utf-8")


def files(home: Path) -> dict[str, bytes]:
    """What lies below a folder."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def call(place: Path, package: Path, lines: list[str], *, code: int = 0) -> str:
    """Carry out command lines in a folder, with modules from there and a given galab; what they printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), str(place)])}
    said = subprocess.run(
        [sys.executable, "-c", DRIVER, str(package / "__init__.py")], input="\n".join(lines), cwd=place, text=True,
        env=environment, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert said.returncode == code, said.stdout + said.stderr
    return said.stdout + said.stderr


def test_each_example_is_named_in_the_table_with_its_count() -> None:
    rows = re.findall(r"^\| (an? [\w ]+) \| (\d) \|", TEXT, flags=re.MULTILINE)
    assert {name.capitalize(): int(count) for name, count in rows} == COUNTS
    for heading, count in COUNTS.items():
        assert len({block.file for block in blocks(section(heading).partition(OUTSIDE)[0])}) == count


@pytest.mark.slow
def test_what_is_added_to_galab_changes_so_many_files_and_works(tmp_path: Path) -> None:
    package = tmp_path / "copy" / "galab"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    lines = []
    for heading, count in COUNTS.items():
        before = files(package)
        inside = section(heading).partition(OUTSIDE)[0]
        for block in blocks(inside):
            apply(block, package.parent)
        after = files(package)
        assert sum(before.get(name) != after[name] for name in after) == count, heading
        lines += commands(inside)
    (tmp_path / "place").mkdir()
    listings = ["tasks", "run --help", "options mutation", "options population", "analyze --help"]
    said = call(tmp_path / "place", package, [*lines, *(f"galab {words}" for words in listings)])
    assert said.count("every checkpoint follows from") == 2
    for words in (
        "How large are the champion's weights, by layer?", "The champion's weights are largest in", "--niche-strength",
        "momentum, prune", "rings", "pgpe, climb",
    ):  # fmt: skip
        assert words in said, words
    refused = call(tmp_path / "place", package, ["galab run --niche-strength 0.5"], code=1)
    assert "expected --niche sharing with --niche-strength, got 0.5; drop one of them" in refused


@pytest.mark.slow
def test_what_is_added_from_outside_works(tmp_path: Path) -> None:
    lines = []
    for heading in COUNTS:
        inside, _, outside = section(heading).partition(OUTSIDE)
        lines += commands(outside)
        for block in blocks(inside):
            if block.kind == "python":
                (tmp_path / Path(block.file).name).write_text(block.code, encoding="utf-8")
    assert sum(".py:" in line for line in lines) == 3
    own = call(tmp_path, PACKAGE, lines)
    assert own.count("every checkpoint follows from") == 2
    install(tmp_path, section("Entry points"))
    said = call(tmp_path, PACKAGE, [*commands(section("Entry points")), "galab analyze --help"])
    assert "How large are the champion's weights, by layer?" in said


def install(place: Path, text: str) -> None:
    """What pip writes down of a package with the entry points that a text shows."""
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    groups = tomllib.loads(shown)["project"]["entry-points"]
    assert set(groups) == {"galab.mutations", "galab.tasks", "galab.analyses", "galab.strategies"}
    home = place / "example-1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    rows = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in names.items()) for group, names in groups.items()]
    (home / "entry_points.txt").write_text("\n".join(rows))
