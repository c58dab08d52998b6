"""Every error that galab raises on purpose; each message says what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class GalabError(Exception):
    """Something outside the program is wrong: a file, the network, a run. The CLI prints it and exits with 1."""

    exit_code = 1


class UsageError(GalabError):
    """The request itself is wrong: an unknown name, a value out of bounds. The CLI prints it and exits with 2."""

    exit_code = 2


class DataError(GalabError):
    """A data set is missing, cannot be downloaded, or is not the one that its checksum names."""


class CheckpointError(GalabError):
    """A checkpoint is damaged, hostile, of another format, or does not fit what it is asked to continue."""


class RunFolderError(GalabError):
    """A run folder is missing, in use, read-only or full."""


class NumericProfileError(GalabError):
    """Scores computed here would not be bit-identical to the run's earlier ones."""


class NoViableChildError(GalabError):
    """Not one member of a generation received a finite fitness, so nothing can breed."""


class LethalMutationError(GalabError):
    """A mutation pushed a weight out of the representable range of +-128; the child cannot live.

    Attributes:
        parameter: name of the parameter tensor that left the range.
    """

    def __init__(self, parameter: str, birth: int) -> None:
        super().__init__(
            f"birth {birth} is lethal: a weight of '{parameter}' left the representable range of +-128; "
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

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
