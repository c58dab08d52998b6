"""What every analysis of a run takes and returns, how its options are checked, and its files.

An analysis is a function ``analysis(saved, progress, *, option=default, ...) -> Analysis`` in a module of its own, with
one row in the registry, which holds its one-line summary, so that listing the analyses imports none of them. Its
docstring is its help: the first line is that summary, and the options stand under ``Args``.

An analysis of many runs calls its first parameter ``runs`` and not ``saved``: it is given a list of every run at or
below the paths on the command line.

Its figure, table and numbers are written into a run's ``analysis`` folder, and read there for a report.
"""

from __future__ import annotations

import csv
import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galab.errors import RunFolderError, UsageError, closest
from galab.saved_runs.saved_run import SavedRun, open_below, open_saved
from galab.storage.files import csv_text, folder_error, json_text, read_json

#: Words in fields of the log of which less is better.
_TO_BE_SMALL = ("loss", "error", "weights_distance")
#: Called with what is being done, and the share of the whole that is done, from 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found.

    Attributes:
        sentence: the answer, with numbers, and with the data that they are of.
        values: plain data, for the JSON file.
        rows: that share their keys, for the CSV file; at least one.
        draw: draws the figure into a file.
    """

    sentence: str
    values: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    draw: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that an analysis offers.

    Attributes:
        name: of the parameter.
        kind: its type; where it may be absent, the type that it has otherwise.
        default: its default; None where it may be absent.
        help: what it is.
    """

    name: str
    kind: type
    default: Any
    help: str


def or_none(value: Any) -> float | None:
    """A number as plain data; None where it is not finite, as JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def lower_is_better(metric: str) -> bool:
    """Whether a field of the log is to be small."""
    return any(word in metric for word in _TO_BE_SMALL)


def summary_of(analysis: Callable[..., Analysis]) -> str:
    """The first line of an analysis' docstring."""
    return (inspect.getdoc(analysis) or "").partition("\n")[0]


def options_of(analysis: Callable[..., Analysis]) -> list[Option]:
    """What an analysis lets a person choose: its parameters by keyword, with their lines under ``Args``."""
    text = re.sub(r"\n {8,}", " ", inspect.getdoc(analysis) or "")
    lines = dict(re.findall(r"^ {4}(\w+): (.+)$", text, flags=re.MULTILINE))
    return [
        Option(one.name, _kind(one), one.default, lines.get(one.name, ""))
        for one in inspect.signature(analysis).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def takes_many(analysis: Callable[..., Analysis]) -> bool:
    """Whether an analysis takes many runs at once: its first parameter is called ``runs``."""
    return next(iter(inspect.signature(analysis).parameters), "") == "runs"


def _kind(parameter: inspect.Parameter) -> type:
    """Of ``int`` and of ``int | None`` it is ``int``; annotations are text, as nothing that they name is imported."""
    word = str(parameter.annotation).partition("|")[0].strip()
    return {"int": int, "float": float, "str": str, "bool": bool}.get(word, type(parameter.default))


def numbers_in(text: str, option: str, *, whole: bool = False) -> list[float]:
    """Positive numbers separated by commas, smallest first, each once.

    Args:
        text: such as ``0.001,0.003``.
        option: such as ``--sigmas``, for the message.
        whole: whether they have to be whole numbers.

    Raises:
        UsageError: something else is written there.
    """
    found = set()
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0) or (whole and not value.is_integer()):
            kind = "whole numbers above 0" if whole else "numbers above 0"
            raise UsageError(
                f"expected {option} as {kind}, joined by commas, got '{word.strip()}' in '{text}'; correct it"
            )
        found.add(value)
    return sorted(found)


def names_in(text: str, option: str, known: Collection[str]) -> list[str]:
    """Names separated by commas, each once, in their order.

    Args:
        text: such as ``normal,laplace``.
        option: such as ``--distributions``, for the message.
        known: the names that there are.

    Raises:
        UsageError: a name is unknown.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    for name in found:
        if name not in known:
            raise UsageError(
                f"expected {option} among {', '.join(known)}, joined by commas, got '{name}'."
                f"{closest(name, list(known))}"
            )
    if not found:
        raise UsageError(f"expected {option} to name some of {', '.join(known)}, got nothing; name one")
    return list(dict.fromkeys(found))


def at_least(option: str, value: int, least: int) -> int:
    """A whole number that is not too small.

    Args:
        option: such as ``--samples``, for the message.
        value: what was given.
        least: the smallest that makes sense.

    Raises:
        UsageError: it is smaller.
    """
    if value < least:
        raise UsageError(f"expected {option} of at least {least:,}, got {value:,}; choose a larger one")
    return value


_IMAGE, _TABLE, _VALUES = ".png", ".csv", ".json"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class SavedAnalysis:
    """What an analysis wrote.

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


def file_stem(saved: SavedRun, name: str) -> Path:
    """Where an analysis' files go, without suffix: by checkpoint if one was asked for."""
    home = saved.folder.analysis if saved.folder is not None else saved.path.parent / "analysis"
    return home / (f"{name}-{saved.path.stem}" if saved.path.suffix == ".pkl" else name)


def open_for(
    analysis: Callable[..., Analysis], path: Path | Sequence[Path], name: str, *, trust: bool = False
) -> tuple[SavedRun | list[SavedRun], Path]:
    """What an analysis is given, and where its files go, without suffix.

    Args:
        analysis: of one run, or of many.
        path: a run or a checkpoint; for an analysis of many runs any number of paths to runs or to folders of runs,
            whose files go into the analysis folder of the first path.
        name: the analysis' name.
        trust: run code that runs name even if it has not been run here before.

    Raises:
        CheckpointError: a run is damaged or has no checkpoint.
        RunFolderError: there is no run.
    """
    if not takes_many(analysis):
        assert isinstance(path, Path)
        saved = open_saved(path, trust=trust)
        return saved, file_stem(saved, name)
    paths = [path] if isinstance(path, Path) else list(path)
    runs = open_below(paths, trust=trust)
    single = len(runs) == 1 or not paths[0].is_dir()
    return runs, file_stem(runs[0], name) if single else paths[0] / "analysis" / name


def write_analysis(found: Analysis, stem: Path) -> list[Path]:
    """Write the figure, the table and the numbers.

    Raises:
        RunFolderError: a file cannot be written.
    """
    image, table, values = (stem.with_name(stem.name + suffix) for suffix in (_IMAGE, _TABLE, _VALUES))
    try:
        stem.parent.mkdir(exist_ok=True)  # never the run's folder, which may be somewhere else by now
        table.write_text(csv_text([dict(row) for row in found.rows]), encoding="utf-8")
        values.write_text(json_text({"answer": found.sentence, **found.values}, indent=2) + "\n", encoding="utf-8")
        found.draw(image)
    except OSError as error:
        raise folder_error(stem.parent, error) from error
    return [image, table, values]


def read_analyses(folder: Path, rows: int = 200) -> list[SavedAnalysis]:
    """Every analysis in a folder, by name; figures without numbers too. What is damaged is reported, and not raised.

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


def _read(stem: Path, most: int) -> SavedAnalysis:
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
    return SavedAnalysis(stem.name, answer, values, found[:most], len(found[most:]), image, tuple(problems))


def pretty(values: dict[str, Any]) -> str:
    """Numbers as indented JSON."""
    return json.dumps(values, indent=2, ensure_ascii=False)
