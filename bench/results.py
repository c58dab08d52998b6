"""The file of results, which is brought up to date row by row, and the table that is made of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timing import Row, table

#: A row as the file has it: its fields, its group, when it was measured and on what machine.
Saved = dict[str, Any]


def read(path: Path) -> list[Saved]:
    """The rows of earlier runs; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def updated(saved: list[Saved], group: str, rows: Sequence[Row], stamp: dict[str, Any]) -> list[Saved]:
    """The rows with a group measured anew, at its old place.

    A row that could not be measured now keeps the figure of the machine that could; a row that is no longer measured
    is dropped.

    Args:
        saved: the rows so far.
        group: the group that was measured.
        rows: what came of it, in order.
        stamp: ``measured`` (when) and ``machine``.
    """
    before = {row["what"]: row for row in saved if row["group"] == group and row["value"] is not None}
    fresh = []
    for row in rows:
        known = before.get(row.what) if row.value is None else None
        if known is not None:  # judged by today's bar
            row = dataclasses.replace(row, value=known["value"], reason=None)
        fresh.append({"group": group, **row.to_dict(), **(_stamp(known) if known else stamp)})
    places = [place for place, row in enumerate(saved) if row["group"] == group]
    at = places[0] if places else len(saved)
    others = [row for row in saved if row["group"] != group]
    return [*others[:at], *fresh, *others[at:]]


def _stamp(row: Saved) -> dict[str, Any]:
    """When and where a saved row was measured."""
    return {"measured": row["measured"], "machine": row["machine"]}


def write(path: Path, rows: list[Saved]) -> None:
    """Save the rows."""
    path.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def markdown(saved: list[Saved], titles: dict[str, str]) -> str:
    """One table for each heading, day and machine.

    Args:
        saved: the rows.
        titles: group to its heading, which several may share.
    """
    parts: dict[tuple[str, str], list[Row]] = {}
    names = {field.name for field in dataclasses.fields(Row)}
    for row in saved:
        where = f"{row['measured'][:10]}, {row['machine']['summary']}"
        part = parts.setdefault((str(titles.get(row["group"], row["group"])), where), [])
        part.append(Row(**{name: value for name, value in row.items() if name in names}))
    return "\n".join(f"### {title}\n\n{where}.\n\n{table(rows)}\n" for (title, where), rows in parts.items())
