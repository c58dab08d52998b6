"""The page of a report: what is shown of a run as plain data, and the template that it fills.

The template escapes every value, so no text of a run can become HTML.
"""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from galab.analysis.base import pretty
from galab.analysis.report.facts import Facts
from galab.config import flag
from galab.config.strategy_kinds import kind_of
from galab.training.compose import Choice, choices_of, command_of
from galab.version import __version__

Rows = list[dict[str, Any]]
_TEMPLATE = "report.html.jinja"
#: Where metrics come from, by how their names begin.
_DATA = {
    "validation": "validation data",
    "test": "test data, which nothing in the run used",
    "weights": "the weights themselves",
}
_DATA_USE = (
    "Selection sees training data alone; the champion, and --target, use validation data; test data is reported "
    "and never used. A resumed run refuses data of another fingerprint."
)


def page(**content: Any) -> str:
    """A whole document, which needs no other file, no network and no script.

    Args:
        content: the variables of the template; those that a page does not show may be absent.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["base64"] = lambda image: base64.b64encode(image).decode("ascii")
    environment.filters["json"] = pretty
    absent: dict[str, Any] = {
        "group": None, "measured": [], "member": "", "failed": [], "samples": [], "prompted": False, "episode": None,
    }  # fmt: skip
    shown = absent | {"version": __version__, "data_use": _DATA_USE} | content
    return environment.get_template(_TEMPLATE).render(shown)


def number(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def heading(facts: Facts) -> dict[str, Any]:
    """The template's name, what was spent, and the champion's metrics."""
    totals = facts.totals
    lead = f"generation {totals.get('generation', 0):,}"
    if "evaluations" in totals:
        lead += f", {totals['evaluations']:,} evaluations ({facts.unit})"
    if "seconds" in totals:
        lead += f", {totals['seconds']:,.1f} s"
    lead += f", on {facts.data.get('description') or 'data that is not named'}"
    member = "centre" if not kind_of(facts.strategy).breeds else "champion"
    measured = [
        {f"of the {member}": name.replace("_", " "), "value": number(value), "measured on": _measured_on(name)}
        for name, value in facts.result.items()
    ]
    return {"name": facts.name, "lead": lead, "member": member, "measured": measured}


def _measured_on(name: str) -> str:
    return next((what for start, what in _DATA.items() if name.startswith(start)), "training data")


def configuration(values: dict[str, Any]) -> dict[str, Rows]:
    """The hyperparameters that were chosen, and the others; empty where none could be read."""
    if not values:
        return {}
    choices = choices_of(values)
    return {
        "own": [_row(one, default=True) for one in choices if one.own],
        "others": [_row(one) for one in choices if not one.own],
    }


def _row(one: Choice, default: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {"": flag(one.name), "value": number(one.value)}
    if default:
        row["default"] = "not set" if one.default is None else number(one.default)
    return row | {"what": one.help}


def data_rows(facts: Facts) -> Rows:
    """Where the data came from."""
    data, values = facts.data, facts.values
    rows = {
        "task": values.get("task", ""),
        "choice of data (--data)": values.get("data", ""),
        "found": data.get("description", ""),
        "shape of an input": " x ".join(map(str, data.get("input_shape") or ())),
        "outputs": data.get("outputs", ""),
        "made from the run's key": data.get("run_key", ""),
        "fingerprint (SHA-256 of data and split)": data.get("fingerprint", ""),
    }
    return [{"": name, "value": value} for name, value in rows.items() if value not in ("", None)]


def provenance(facts: Facts) -> dict[str, Any]:
    """What the results depend on, and the commands that make and continue them; no history of files is needed."""
    home = facts.folder.path if facts.folder else facts.path
    commands = []
    if facts.values:
        commands = [("make it again", command_of(facts.values, f"{home.resolve().stem}-again"))]
        if facts.folder:
            file = shlex.quote(str(home / "config.json"))
            place = shlex.quote(str(home))
            commands += [("the same from its configuration", f"galab run --config {file}")]
            commands += [("continue it", f"galab resume {place}"), ("replay and check it", f"galab verify {place}")]
    return {
        "versions": [{"": name, "value": value} for name, value in {**facts.versions, **facts.profile}.items()],
        "origin": {name: facts.origin.get(name) for name in ("run", "file")} if facts.origin else {},
        "commands": commands,
        "values": facts.values,
        "saved": ", ".join(f"{generation:,}" for generation in facts.saved) or "none",
    }
