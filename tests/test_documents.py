"""What documents and docstrings mention exists: paths, dotted names, packages; the notebook's contents are whole."""

from __future__ import annotations

import functools
import importlib
import re

import pytest
from house import PACKAGE, ROOT

from galab.config import registry
from galab.config.registry import Registry

SOURCES = [path for top in ("galab", "tests", "bench", "analysis") for path in sorted((ROOT / top).rglob("*.py"))]
DOCUMENTS = ["README.md", "analysis/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
#: A path below one of the folders whose content is in the repository, or a file in the root.
PATH = re.compile(r"(?<![\w./-])((?:galab|docs|bench|tests|analysis)/[\w./-]*\w/?|[A-Z]+\.md|Makefile|setup\.cfg)")
LINK = re.compile(r"\]\(([^)#:]+)\)")
NAME = re.compile(r"(?<![\w./-])galab(?:\.[A-Za-z_]\w*)+(?![\w/])")
#: A file, or something of galab, that a docstring or a comment names.
FILE, ROLE = re.compile(r"``([a-z_/]+\.py)``"), re.compile(r":(?:mod|class|func|meth|data|attr):`~?(galab\.[\w.]+)`")
#: Groups of entry points, which are no modules, though some have the name of one.
GROUPS = {table.group for table in vars(registry).values() if isinstance(table, Registry)}
#: The line that names a new file, and the file's code, in docs/extend.md.
NEW = re.compile(r"^`(galab/[\w/]+)\.py`:\n\n```python\n", re.MULTILINE)


@functools.cache
def text(document: str) -> str:
    """A document."""
    return (ROOT / document).read_text(encoding="utf-8")


def examples() -> set[str]:
    """Modules that docs/extend.md adds."""
    return {name.replace("/", ".") for name in NEW.findall(text("docs/extend.md"))}


def missing_paths(document: str, words: str) -> list[str]:
    """Paths in a text that lead to nothing; links are relative to the document."""
    new = {name.replace(".", "/") + ".py" for name in examples()}
    paths = [path for path in PATH.findall(words) if path not in new and not (ROOT / path).exists()]
    return paths + [path for path in LINK.findall(words) if not (ROOT / document).parent.joinpath(path).exists()]


def missing_names(words: str) -> list[str]:
    """Dotted names in a text that are no module, attribute or group of entry points."""
    names = [name for name in NAME.findall(words) if name not in GROUPS and not name.endswith((".py", ".json"))]
    return [name for name in names if name not in examples() and not exists(name)]


@functools.cache
def exists(name: str) -> bool:
    """Whether a dotted name is a module, or what one has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


def anchor(heading: str) -> str:
    """What GitHub makes of a heading in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document: str) -> None:
    assert missing_paths(document, text(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_dotted_name_exists(document: str) -> None:
    assert missing_names(text(document)) == []


def test_docstrings_and_comments_name_what_exists() -> None:
    lost = []
    for path in SOURCES:
        words = path.read_text(encoding="utf-8")
        places = (ROOT, PACKAGE, path.parent)
        files = [name for name in FILE.findall(words) if not any((place / name).exists() for place in places)]
        lost += [f"{path.relative_to(ROOT)}: {name}" for name in files]
        lost += [f"{path.relative_to(ROOT)}: {name}" for name in ROLE.findall(words) if not exists(name)]
    assert lost == []


def test_the_tree_in_the_readme_is_that_of_galab() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert set(re.findall(r"^galab/(\w+)/ ", text("README.md"), flags=re.MULTILINE)) == folders


def test_what_is_not_there_is_seen() -> None:
    words = "`galab/lab/run.py`, [a](docs/none.png), [b](docs/log.md), galab.lab.run, galab.run, galab.tasks"
    assert missing_paths("README.md", words) == ["galab/lab/run.py", "docs/none.png", "docs/none.png"]
    assert missing_names(words) == ["galab.lab.run"]
    assert anchor("2026-11-21/22: what is (8, 32) at 89 %?") == "2026-11-2122-what-is-8-32-at-89-"


def test_the_contents_of_the_notebook_name_every_entry_once() -> None:
    headings = re.findall(r"^## (.+)$", text("NOTES.md"), flags=re.MULTILINE)
    assert headings[0] == "Contents"
    contents = text("NOTES.md").partition("## Contents\n")[2].partition("\n## ")[0]
    links = re.findall(r"^- \[.+\]\(#(.+)\)$", contents, flags=re.MULTILINE)
    assert sorted(links) == sorted(map(anchor, headings[1:]))
