"""The files of analyses in a run's ``analysis`` folder: written after one, and read for a report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galab.errors import RunFolderError
from galab.questions.analysis import Analysis, takes_many
from galab.store.files import csv_text, folder_error, json_text, read_json

if TYPE_CHECKING:
    from galab.lab.rebuild import Saved

_IMAGE, _TABLE, _VALUES = ".png", ".csv", ".json"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Kept:
    """What an analysis left behind.

    Attributes:
        name: of its files, without suffix.
        answer: its sentence; empty where there is a figure alone.
        values: its numbers, but for the answer.
        rows: its table, at most as many rows as were asked for.
        more_rows: how many others there are.
        image: its figure as PNG, or None.
        problems: what could not be read, in sentences.
    """

    name: str
    answer: str
    values: dict[str, Any]
    rows: list[dict[str, str]]
    more_rows: int
    image: bytes | None
    problems: tuple[str, ...]


def stem_of(saved: Saved, name: str) -> Path:
    """Where an analysis' files go, without suffix: by checkpoint if one was asked for."""
    home = saved.folder.analysis if saved.folder is not None else saved.path.parent / "analysis"
    return home / (f"{name}-{saved.path.stem}" if saved.path.suffix == ".pkl" else name)


def opened(
    analysis: Callable[..., Analysis], path: Path | Sequence[Path], name: str, *, trust: bool = False
) -> tuple[Saved | list[Saved], Path]:
    """What an analysis is given, and where its files go, without suffix.

    Args:
        analysis: of one run, or of many.
        path: a run or a checkpoint; for an analysis of many runs any number of paths to runs or to folders of runs,
            whose files go into the analysis folder of the first path.
        name: the analysis' name.
        trust: run code that runs name even if nobody here has run it before.

    Raises:
        CheckpointError: a run is damaged or has no checkpoint.
        RunFolderError: there is no run.
    """
    from galab.lab.rebuild import open_below, open_saved

    if not takes_many(analysis):
        assert isinstance(path, Path)
        saved = open_saved(path, trust=trust)
        return saved, stem_of(saved, name)
    paths = [path] if isinstance(path, Path) else list(path)
    runs = open_below(paths, trust=trust)
    single = len(runs) == 1 or not paths[0].is_dir()
    return runs, stem_of(runs[0], name) if single else paths[0] / "analysis" / name


def write_analysis(found: Analysis, stem: Path) -> list[Path]:
    """Write the figure, the table and the numbers.

    Raises:
        RunFolderError: a file cannot be written.
    """
    image, table, values = (stem.with_name(stem.name + suffix) for suffix in (_IMAGE, _TABLE, _VALUES))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(csv_text([dict(row) for row in found.rows]), encoding="utf-8")
        values.write_text(json_text({"answer": found.sentence, **found.values}, indent=2) + "\n", encoding="utf-8")
        found.draw(image)
    except OSError as error:
        raise folder_error(stem.parent, error) from error
    return [image, table, values]


def read_kept(folder: Path, rows: int = 200) -> list[Kept]:
    """Every analysis in a folder, by name; figures without numbers too. What is damaged is told, and not raised.

    Args:
        folder: a run's ``analysis`` folder, which may be missing.
        rows: of each table at most.
    """
    stems = {
        path.with_suffix("")
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix in (_IMAGE, _VALUES) and path.is_file()
    }
    return [_read(stem, rows) for stem in sorted(stems)]


def _read(stem: Path, most: int) -> Kept:
    problems: list[str] = []
    values: dict[str, Any] = {}
    file, table, picture = (stem.with_name(stem.name + suffix) for suffix in (_VALUES, _TABLE, _IMAGE))
    if file.exists():
        try:
            content = read_json(file)
            values = content if isinstance(content, dict) else {"values": content}
        except RunFolderError as error:
            problems.append(str(error))
    found: list[dict[str, str]] = []
    if table.exists():
        try:
            with table.open(newline="", encoding="utf-8") as handle:
                found = [{str(key): str(value) for key, value in row.items()} for row in csv.DictReader(handle)]
        except (OSError, ValueError, csv.Error) as error:
            problems.append(f"expected a table in '{table}', got: {error}; make the analysis again")
    image = None
    if picture.exists():
        image = picture.read_bytes()
        if not (image.startswith(_PNG) and image.endswith(_PNG_END)):
            image = None
            problems.append(f"expected a figure in '{picture}', got half of one or other data; make the analysis again")
    answer = str(values.pop("answer", ""))
    return Kept(stem.name, answer, values, found[:most], len(found[most:]), image, tuple(problems))


def pretty(values: dict[str, Any]) -> str:
    """Numbers as indented JSON."""
    return json.dumps(values, indent=2, ensure_ascii=False)
