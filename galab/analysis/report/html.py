"""HTML that is safe by construction: every text that was not made here is escaped.

The parts of a report as HTML, each made of facts.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from galab.analysis.base import Kept, pretty
from galab.analysis.report.facts import Facts, Verdict
from galab.analysis.report.figures import Figure
from galab.config.fields import flag
from galab.config.strategy_kinds import evaluations_of, has_centre
from galab.training.compose import Choice, choices_of, command_of

_ALONE = ("img", "meta", "br")
#: No network, no script, whatever a page holds: browsers enforce it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 68rem; margin: 2rem auto;
  padding: 0 1.2rem; overflow-wrap: break-word }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ccc }
h3 { margin: 1.8rem 0 .3rem } img { max-width: 100%; height: auto; display: block; margin: .6rem 0 }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 } .wide { overflow-x: auto }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e4e4e4; vertical-align: top }
pre { background: #f5f5f5; padding: .6rem .8rem; white-space: pre-wrap; font-size: .85rem } summary { cursor: pointer }
code { white-space: nowrap; font-size: .95em }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(27rem, 1fr)); gap: .5rem 1.2rem }
.lead { color: #444; margin-top: 0 } .quiet { color: #666; font-size: .9rem } ul { padding-left: 0; list-style: none }
li { padding: .15rem 0 .15rem 1.6rem; text-indent: -1.6rem } .bad { color: #a33c00 } .answer { font-weight: 600 }
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: Any) -> Markup:
    """Any text as HTML; what is HTML stays as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def element(name: str, *inside: Any, kind: str = "", **attributes: str) -> Markup:
    """An element.

    Args:
        name: of the tag.
        inside: texts, which are escaped, and other elements.
        kind: its class.
        attributes: others, by name.
    """
    known = ({"class": kind} if kind else {}) | attributes
    head = "".join(f' {key}="{html.escape(value, quote=True)}"' for key, value in known.items())
    if name in _ALONE:
        return Markup(f"<{name}{head}>")
    return Markup(f"<{name}{head}>{joined(inside)}</{name}>")


def joined(parts: Iterable[Any]) -> Markup:
    """Texts and elements, one after the other."""
    return Markup("".join(escaped(part) for part in parts))


def table(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Rows under the names of the first one."""
    if not rows:
        return Markup("")
    names = list(rows[0])
    head = element("tr", *(element("th", name) for name in names))
    body = (element("tr", *(element("td", row.get(name, "")) for name in names)) for row in rows)
    return element("div", element("table", head, *body), kind="wide")


def picture(image: bytes, what: str) -> Markup:
    """A PNG inside of the page."""
    return element("img", src="data:image/png;base64," + base64.b64encode(image).decode("ascii"), alt=what)


def folded(title: str, *inside: Any) -> Markup:
    """Something that opens with a click."""
    return element("details", element("summary", title), *inside)


def page(title: str, *inside: Any) -> str:
    """A whole document, which needs no other file, no network and no script."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'),
        element("title", title),
        element("style", Markup(_STYLE)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *inside), lang='en')}\n"


#: Where metrics come from, by how their names begin.
_DATA = {
    "validation": "validation data",
    "test": "test data, which nothing in the run used",
    "weights": "the weights themselves",
}


def number(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def heading(facts: Facts) -> Markup:
    """Name, what was spent, and the champion's metrics."""
    totals = facts.totals
    lead = f"generation {totals.get('generation', 0):,}"
    if "evaluations" in totals:
        lead += f", {totals['evaluations']:,} evaluations ({evaluations_of(facts.strategy)})"
    if "seconds" in totals:
        lead += f", {totals['seconds']:,.1f} s"
    lead += f", on {facts.data.get('description') or 'data that is not named'}"
    who = "centre" if has_centre(facts.strategy) else "champion"
    rows = [
        {f"of the {who}": name.replace("_", " "), "value": number(value), "measured on": _measured_on(name)}
        for name, value in facts.result.items()
    ]
    measured = table(rows) if rows else element("p", f"The {who} has not been measured yet.")
    return joined([element("h1", facts.name), element("p", lead, kind="lead"), measured])


def _measured_on(name: str) -> str:
    return next((what for start, what in _DATA.items() if name.startswith(start)), "training data")


def verdict_list(found: Sequence[Verdict]) -> Markup:
    """What to know first; what asks for something before the rest."""
    if not found:
        return joined([element("h2", "Verdicts"), element("p", "Nothing to say.")])
    ordered = sorted(found, key=lambda one: one.good)
    items = [
        element("li", "\u2713 " if one.good else "! ", one.say, kind="" if one.good else "bad") for one in ordered
    ]
    return joined([element("h2", "Verdicts"), element("ul", *items)])


def configuration(values: dict[str, Any]) -> Markup:
    """The hyperparameters, those that somebody chose first."""
    title = element("h2", "Configuration")
    if not values:
        return joined([title, element("p", "No hyperparameters could be read.")])
    choices = choices_of(values)
    own, others = [one for one in choices if one.own], [one for one in choices if not one.own]
    chosen = table([_row(one, default=True) for one in own]) if own else element("p", "Everything is the default.")
    rest = folded(
        f"the {len(others)} others: defaults, and what the run decided itself", table([*map(_row, others)])
    )
    return joined([title, element("p", "What differs from the defaults:"), chosen, rest])


def _row(one: Choice, default: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {"": element("code", flag(one.name)), "value": number(one.value)}
    if default:
        row["default"] = "not set" if one.default is None else number(one.default)
    return row | {"what": one.help}


def data_part(facts: Facts) -> Markup:
    """Where the data came from, and what may see which part."""
    data, values = facts.data, facts.values
    rows = [
        {"": name, "value": value}
        for name, value in (
            ("task", values.get("task", "")),
            ("choice of data (--data)", values.get("data", "")),
            ("found", data.get("description", "")),
            ("shape of an input", " x ".join(map(str, data.get("input_shape") or ()))),
            ("outputs", data.get("outputs", "")),
            ("made from the run's key", data.get("run_key", "")),
            ("fingerprint (SHA-256 of data and split)", data.get("fingerprint", "")),
        )
        if value not in ("", None)
    ]
    say = (
        "Selection sees training data alone; the champion, and --target, use validation data; test data is reported "
        "and never used. A resumed run refuses data of another fingerprint."
    )
    return joined([element("h2", "Data"), table(rows), element("p", say, kind="quiet")])


def curves_part(figures: Sequence[Figure]) -> Markup:
    """The curves."""
    images = element("div", *(picture(one.image, one.title) for one in figures), kind="grid")
    return joined([element("h2", "Curves"), images if figures else element("p", "Nothing has been logged yet.")])


def analyses_part(kept: Sequence[Kept], failed: Sequence[str]) -> Markup:
    """What analyses found, and the sentences of those that could not be made."""
    parts = [element("h2", "Analyses"), *(one_analysis(one) for one in kept)]
    if failed:
        parts += [element("h3", "Not made"), element("ul", *(element("li", "! ", one) for one in failed))]
    if not kept and not failed:
        parts.append(element("p", "None was made yet; `galab report --analyses all` makes all that fit."))
    return joined(parts)


def one_analysis(one: Kept) -> Markup:
    """One analysis: its answer, its figure, and its table and numbers folded away."""
    parts = [element("h3", one.name)]
    parts += [element("p", one.answer, kind="answer")] if one.answer else []
    parts += [element("p", "! ", problem, kind="bad") for problem in one.problems]
    parts += [picture(one.image, one.answer or one.name)] if one.image else []
    if one.rows:
        more = [element("p", f"... and {one.more_rows:,} more rows", kind="quiet")] if one.more_rows else []
        parts.append(folded(f"table, {len(one.rows) + one.more_rows:,} rows", table(one.rows), *more))
    if one.values:
        parts.append(folded("numbers", element("pre", pretty(one.values))))
    return joined(parts)


def provenance(facts: Facts) -> Markup:
    """What the results hang on, and the commands that make and continue them; no history of files is needed."""
    versions = [{"": name, "value": value} for name, value in {**facts.versions, **facts.profile}.items()]
    parts: list[Markup] = [element("h2", "Provenance")]
    if versions:
        parts += [element("p", "Versions and numeric profile; the same give the same scores to the bit:")]
        parts += [table(versions)]
    else:
        parts += [element("p", "No checkpoint could be read, so versions and numeric profile are not known.")]
    if facts.origin:
        parts += [element("p", f"Branched from {facts.origin.get('run')}, {facts.origin.get('file')}.")]
    home = facts.folder.path if facts.folder else facts.path
    if facts.values:
        commands = [("make it again", command_of(facts.values, f"{home.resolve().stem}-again"))]
        if facts.folder:
            commands += [("the same from its configuration", f"galab run --config {home}/config.json")]
            commands += [("continue it", f"galab resume {home}"), ("replay and check it", f"galab verify {home}")]
        parts += [element("pre", "\n".join(f"# {what}\n{command}" for what, command in commands))]
        parts += [folded("all hyperparameters as JSON, for --config", element("pre", pretty(facts.values)))]
    saved = ", ".join(f"{generation:,}" for generation in facts.saved) or "none"
    return joined([*parts, element("p", f"Checkpoints of generations: {saved}.", kind="quiet")])
