"""HTML that is safe by construction: every text that was not made here is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
