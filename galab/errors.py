"""Every error that galab raises on purpose; each message says what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

#: What a terminal obeys instead of showing it, or what changes the order of the letters around it: control characters
#: of ASCII and of ISO 8859-1, marks of direction, and halves of a letter, which cannot be written at all, but for the
#: bytes of a name that the locale does not know (PEP 383).
_HIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udc7f\udd00-\udfff"
_IN_LINES = re.compile(f"[{_HIDDEN}]|\r(?!\n)")
_IN_A_LINE = re.compile(f"[{_HIDDEN}\n\r\t]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text with its control characters spelt out, such as ``\u001b``, which is how JSON spells them too.

    Args:
        text: out of a file that anybody may have written.
        lines: leave tabs and the ends of lines as they are.
    """
    return (_IN_LINES if lines else _IN_A_LINE).sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable_data(value: Any) -> Any:
    """Plain data whose texts, names of fields too, are :func:`printable` in one line."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_data(name): printable_data(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_data(item) for item in value]
    return value


class GalabError(Exception):
    """Something outside the program is wrong: a file, the network, a run. The CLI prints it and exits with 1.

    The message is one line, whatever the file or the library says that it quotes.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().splitlines()))


class UsageError(GalabError):
    """The request itself is wrong: an unknown name, a value out of bounds. The CLI prints it and exits with 2."""

    exit_code = 2


class DataError(GalabError):
    """A data set is missing, cannot be downloaded, or is not the one that its checksum names."""


class CheckpointError(GalabError):
    """A checkpoint is damaged, hostile, of another format, or does not fit what it is asked to continue."""


class RunFolderError(GalabError):
    """A run folder is missing, in use, read-only or full."""


class ServerError(GalabError):
    """A server of language models cannot be reached, or refuses. Nothing of a run is lost: it goes on when resumed.

    Attributes:
        answered: whether the server said something.
    """

    answered = True


class NumericProfileError(GalabError):
    """Scores computed here would not be bit-identical to the run's earlier ones."""


class NoViableChildError(GalabError):
    """Not one member of a generation received a finite fitness, so nothing can breed."""


class LethalMutationError(GalabError):
    """A mutation pushed a weight out of the representable range, +-128 unless said otherwise; the child cannot live.

    Attributes:
        parameter: name of the parameter tensor that left the range.
    """

    def __init__(self, parameter: str, birth: int, limit: float = 128.0) -> None:
        super().__init__(
            f"birth {birth} is lethal: a weight of '{parameter}' left the representable range of +-{limit:g}; "
            "use a smaller --sigma"
        )
        self.parameter = parameter


def pass_interrupts(error: BaseException) -> None:
    """Raise Ctrl-C again, which is the person's; whatever else the user's own code raises is an error of that code.

    That includes SystemExit, which would end the program without a word.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error


@contextlib.contextmanager
def errors_ignored() -> Iterator[None]:
    """Run something of the user's own that may fail; Ctrl-C passes."""
    try:
        yield
    except BaseException as error:
        pass_interrupts(error)


def as_exception(error: BaseException) -> Exception:
    """The error itself, or, where it would end the program silently, a sentence about it; Ctrl-C is raised again."""
    pass_interrupts(error)
    if isinstance(error, Exception):
        return error
    return GalabError(
        f"expected your own code to return or to raise an ordinary error, got {type(error).__name__}: {error}; raise "
        "a ValueError, say, in its place"
    )


def closest(name: str, known: list[str]) -> str:
    """The known name most like ``name`` as ``" Did you mean 'x'?"``, or an empty string when none is near."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
