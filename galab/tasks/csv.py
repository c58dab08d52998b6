"""``csv``: a table of one's own, as classification or regression."""

from __future__ import annotations

import io
import math
from csv import Error, reader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.tasks.classification import Classification
from galab.tasks.regression import Regression


def csv(
    file: str, target: str | None = None, kind: str = "auto", standardize: bool = True
) -> Classification | Regression:
    """A CSV file with a header: its columns are the inputs, one of them the target.

    Args:
        file: where it lies.
        target: the column of targets; the last one when absent.
        kind: ``classification``, ``regression``, or ``auto``: regression where targets are numbers that are not all
            whole, or whole and more than 20 different ones.
        standardize: whether each input column gets mean 0 and deviation 1, over all rows.

    Raises:
        UsageError: the file or a value in it is not as described.
    """
    if kind not in ("auto", "classification", "regression"):
        raise UsageError(f"expected kind to be auto, classification or regression, got '{kind}'; correct it")
    inputs, words, lines, column = _read(Path(file), target)
    _check_targets(words, lines, file, named=kind == "classification")
    name = Path(file).stem
    numbers = _as_numbers(words)
    if kind == "regression" and numbers is None:
        raise UsageError(f"expected targets that are numbers in '{file}' for regression, got texts; use classification")
    labels = numbers is None or (np.equal(numbers, np.rint(numbers)).all() and len(np.unique(numbers)) <= _FEW)
    if kind == "classification" or (kind == "auto" and labels):
        whole = numbers is not None and np.equal(numbers, np.rint(numbers)).all()
        targets = numbers.astype(np.int64) if whole and numbers is not None else np.array(words)
        classes = Classification.split(name, (_standard(inputs) if standardize else inputs, targets))
        classes.description = f"'{column}' of {classes.description}; {classes.outputs} classes"
        return classes
    regression = Regression.split(name, (_standard(inputs) if standardize else inputs, numbers))
    regression.description = f"'{column}' of {regression.description}; a regression"
    return regression


#: Spellings of a value that is not there.
_MISSING = ("na", "n/a", "nan", "null", "none", "?")


def _check_targets(words: list[str], lines: list[int], file: str, *, named: bool) -> None:
    """Refuse cells without a target, which would be a class of their own.

    Args:
        words: the targets.
        lines: where they stand.
        file: for the message.
        named: whether classes were asked for, so that any text is one.

    Raises:
        UsageError: a cell is empty, says that there is no value, or is a text among numbers.
    """
    numeric = 2 * sum(_is_number(word) for word in words) > len(words)
    for word, line in zip(words, lines, strict=True):
        missing = not word or (not named and word.lower() in _MISSING)
        if missing or (numeric and not named and not _is_number(word)):
            raise UsageError(
                f"expected a target in row {line} of '{file}', got '{word}'; fill it, take the row out"
                + ("" if named or not word else ", or say kind=classification where it is a class of its own")
            )


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _standard(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, columns) each with mean 0 and deviation 1; a column of one value is 0."""
    deviation = inputs.std(0)
    scaled: NDArray[np.float64] = (inputs - inputs.mean(0)) / np.where(deviation == 0, 1.0, deviation)
    return scaled


#: So many different whole numbers are class numbers; more are measurements.
_FEW = 20


def _as_numbers(words: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return None


def _read(path: Path, target: str | None) -> tuple[NDArray[np.float64], list[str], list[int], str]:
    """(B, columns) numbers, the targets as texts, their lines and their column.

    A comma, a semicolon or a tab parts the columns.

    Raises:
        UsageError: there is no such file or column, or a number is none.
    """
    try:
        text = _decoded(path)
        table = reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count))
        rows = [(table.line_num, row) for row in table if row]
    except (OSError, Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise UsageError(
            f"expected a CSV file at '{path}'{where}, got: {reason}; check the path, or go to the folder from which "
            "the run was started"
        ) from None
    if len(rows) < 2:
        raise UsageError(f"expected a header and rows in '{path}', got {len(rows)} lines; fill the file")
    header = [name.strip() for name in rows.pop(0)[1]]
    wanted = header[-1] if target is None else target
    if header.count(wanted) != 1 or len(header) < 2:
        raise UsageError(
            f"expected '{path}' to have one column '{wanted}' and another, got {', '.join(header)}; name one of them"
        )
    at = header.index(wanted)
    inputs = np.empty((len(rows), len(header) - 1))
    words = []
    for place, (line, row) in enumerate(rows):
        if len(row) != len(header):
            raise UsageError(f"expected {len(header)} columns in row {line} of '{path}', got {len(row)}")
        words.append(row.pop(at).strip())
        inputs[place] = [
            _number(word, f"column '{name}', row {line} of '{path}'")
            for name, word in zip(header[:at] + header[at + 1 :], row, strict=True)
        ]
    return inputs, words, [line for line, _ in rows], wanted


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        content = path.read_bytes()
        line, wide = content[: error.start].count(b"\n") + 1, content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise UsageError(
            f"expected '{path}' to be UTF-8, got a byte in line {line} that is none; save the file as UTF-8, or "
            f"convert it, such as by iconv -f {'utf16' if wide else 'latin1'} -t utf8"
        ) from None


def _number(word: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError:
        missing = word.lower() in ("", *_MISSING)
        advice = "fill it, or take the row out" if missing else "encode it as one"
        raise UsageError(f"expected a number in {where}, got '{word}'; {advice}") from None
    if not math.isfinite(number):
        raise UsageError(f"expected a finite number in {where}, got '{word}'; fill it, or take the row out")
    return number
