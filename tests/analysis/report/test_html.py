"""The page of a report: every text is escaped, and numbers are written as a person reads them."""

from __future__ import annotations

from typing import Any

import pytest

from galab.analysis.report.html import number, page


def test_texts_and_attributes_are_escaped_and_nothing_twice() -> None:
    figure = type("Figure", (), {"title": '"><script>', "image": b"png"})
    text = page(
        name="<b>&", lead="'", verdicts=[], choices={}, data=[{"<i>": "<u>"}], figures=[figure], analyses=[],
        provenance_facts={"versions": [], "origin": {}, "commands": [], "values": {}, "saved": "none"},
    )  # fmt: skip
    assert "<h1>&lt;b&gt;&amp;</h1>" in text
    assert "<th>&lt;i&gt;</th>" in text
    assert "<td>&lt;u&gt;</td>" in text
    assert not any(tag in text for tag in ("<script", "<b>", "<i>", "<u>"))


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (True, "yes"), (0.0, "0.0000"), (0.51234, "0.5123"), (1e-5, "1e-05"), (9999, "9999"),
     (10_000, "10,000"), ("a", "a")],
)  # fmt: skip
def test_numbers(value: Any, words: str) -> None:
    assert number(value) == words
