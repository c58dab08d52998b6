"""What ``--distribution`` may say, read into a value.

A built-in name (``laplace``), a continuous law of scipy.stats with its parameters by name (``scipy:t(df=5)``,
``scipy:logistic``), or a file of samples (``table:updates.npy``). A run saves the last two with ``#`` and the SHA-256
of their quantile table behind them, which says for ever which numbers were meant: neither scipy nor the file has to be
there again. Only the form is looked at here, so that help and listings import neither NumPy nor scipy.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from galab.config.spelling import OptionError
from galab.errors import UsageError, closest

#: Every built-in distribution with the SHA-256 of its shipped table; see ``genome/make_tables.py``.
TABLE_HASHES = {
    "normal": "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f",
    "laplace": "64a5ed3940992f28445261c8d69c8e26fa4c06211e8692747f312d1e60172861",
    "uniform": "466d9848fb9d7b05ceba11f0a71b73b167f163f6dc0c31dd6d23b35e9fdd798c",
    "sign": "c9e690197cd3e1a0e72d65e857be7a87d0c1bfc394a87b2ed854589cf1a6eee4",
    "cauchy": "4ab71c35318ad1908f83b866adcd458c82b4e86d9aeec3b050fbbc6ec9a7a8b7",
}

_PINNED = re.compile(r"(?P<text>.*)#(?P<sha256>[0-9a-f]{64})", re.DOTALL)
_SCIPY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z_0-9]*)(\((?P<parameters>[^()]*)\))?")
_PARAMETER = re.compile(r"\s*(?P<name>[A-Za-z_][A-Za-z_0-9]*)\s*=\s*(?P<number>\S+)\s*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution, by where it comes from.

    Attributes:
        text: how it was written, without the hash of a table.
        source: ``built-in``, ``scipy`` or ``table``.
        name: the built-in name, the name in scipy.stats, or the path of the file.
        parameters: of a law of scipy.stats, by name.
        sha256: hash of the table that is meant (hex), where a run has fixed it.
    """

    text: str
    source: str
    name: str
    parameters: dict[str, float]
    sha256: str | None

    def pinned(self, sha256: str) -> str:
        """The text that means a certain table."""
        return f"{self.text}#{sha256}"


def parse(text: str) -> Distribution:
    """Read a distribution; whether scipy has the law, or the file is there, shows when its table is made.

    Raises:
        UsageError: no such built-in name, or a form that cannot be read.
    """
    if text in TABLE_HASHES:
        return Distribution(text, "built-in", text, {}, None)
    match = _PINNED.fullmatch(text)
    written, sha256 = (match["text"], match["sha256"]) if match else (text, None)
    source, colon, rest = written.partition(":")
    if colon and source == "scipy":
        return Distribution(written, source, *_read_scipy(rest), sha256)
    if colon and source == "table" and rest.strip():
        return Distribution(written, source, rest, {}, sha256)
    known = ", ".join([*TABLE_HASHES, "scipy:NAME(parameter=number)", "table:FILE"])
    near = closest(source, [*TABLE_HASHES, "scipy", "table"])
    raise UsageError(f"no distribution is called {shown(text)}.{near} Known: {known}.")


def shown(text: str) -> str:
    """A text as it was typed, on one line and not too long."""
    return f"{text!r:.80}"


def _read_scipy(rest: str) -> tuple[str, dict[str, float]]:
    """The name and the parameters of ``t(df=5)``."""
    match = _SCIPY.fullmatch(rest.strip())
    if match is None:
        raise OptionError(
            "expected {distribution:scipy:NAME(parameter=number, ...)}, such as scipy:t(df=5), got {got}; write it so, "
            "in quotes for the shell",
            got=shown("scipy:" + rest),
        )
    parameters: dict[str, float] = {}
    written = match["parameters"] or ""
    for part in written.split(",") if written.strip() else ():
        found = _PARAMETER.fullmatch(part)
        if found is None or not _NUMBER.fullmatch(found["number"]) or not math.isfinite(float(found["number"])):
            raise OptionError(
                "expected each parameter of {distribution} scipy:{name} as name=number, such as df=5, got {got}; write "
                "a finite number",
                name=match["name"], got=shown(part.strip()),
            )  # fmt: skip
        if found["name"] in parameters:
            raise OptionError(
                "expected each parameter of {distribution} scipy:{name} once, got '{twice}' twice; leave out one",
                name=match["name"], twice=found["name"],
            )  # fmt: skip
        parameters[found["name"]] = float(found["number"])
    return match["name"], parameters
