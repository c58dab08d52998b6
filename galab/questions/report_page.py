"""The parts of a report as HTML, each made of facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galab.config import flag
from galab.evolution_compatibility import evaluations_of, has_centre
from galab.lab.choices import Choice, choices_of, command_of
from galab.questions.kept import Kept, pretty
from galab.questions.markup import Markup, element, folded, joined, picture, table
from galab.questions.report_facts import Facts
from galab.questions.report_figures import Figure
from galab.questions.report_verdicts import Verdict

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
