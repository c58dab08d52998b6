"""The small languages of the options, read into values.

Names with arguments, ``NAME(option=value, ...)``: how a task, a model, a mutation or an optimiser is asked for. Such a
text may come out of a stranger's checkpoint, so it is read and never run: values are numbers, words, ``True``,
``False``, ``None``, and lists of such.

A fitness is ``[improvement:|inherited:]BASE[,BASE...]``: ``accuracy``, ``wrong,cross-entropy``, ``improvement:wrong``;
a base may be a sum, ``wrong+0.1*closeness``. A mix of mutations is ``NAME[(option=value, ...)][:SHARE][,...]``.
"""

from __future__ import annotations

import ast
import collections.abc
import inspect
import keyword
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from galab.config.spelling import OptionError
from galab.errors import UsageError, closest

#: What needs no quotes as a value; the minus is for names such as ``count-ones``.
_WORD = re.compile(r"[A-Za-z_][\w-]*")
#: What stands before the bracket: a name, or a reference that ends in a colon and an attribute.
_NAME = re.compile(r"(?:.*:)?[\w.-]+", re.DOTALL)
#: A reference without arguments; its path may hold brackets.
_BARE = re.compile(r".*:[\w.]+", re.DOTALL)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


#: The place of an argument without a name, where one may have none.
UNNAMED = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A name and the arguments that go with it.

    Attributes:
        name: what a registry understands.
        arguments: plain values by name; lists are tuples. A first one without a name is under :data:`UNNAMED`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The name without the module or the file in front of it, for the names of folders."""
        return Path(self.name).name.split(":")[-1]

    def __str__(self) -> str:
        """The one spelling of all those that mean the same: sorted arguments, and quotes only where they are needed."""
        if not self.arguments:
            return self.name
        parts = [(f"{name}=" if name else "") + _spelt(value) for name, value in sorted(self.arguments.items())]
        given = ", ".join(parts)
        return f"{self.name}({given})"


def parse_call(text: str, what: str, *, unnamed: bool = False) -> Call:
    """``"memory(heads=128, norm=free)"`` as a name and its arguments; a text without brackets is a name as it stands.

    Args:
        text: as it was typed, or as a run saved it.
        what: whose arguments they are, for messages, such as ``{optimizer}`` or ``the task``.
        unnamed: whether the first argument may come without its name, as in ``gym(LunarLander-v3)``.

    Raises:
        UsageError: the arguments are not ``name=value`` with plain values.
    """
    if "(" not in text or _BARE.fullmatch(text):
        return Call(text)
    names = []
    # A path may hold brackets too, so the first one need not be that of the arguments.
    for place in (match.start() for match in re.finditer(r"\(", text)):
        name = text[:place].strip()
        if not _NAME.fullmatch(name):
            continue
        names.append(name)
        for arguments in (text[place:], _with_paths_quoted(text[place:])):
            try:
                return Call(name, _arguments("f" + arguments, unnamed=unnamed))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    raise OptionError(
        f"expected the arguments of {what} as name=value with numbers, words or lists of them, such as "
        "{name}(size=3), got '{text}'; correct them",
        name=names[0] if names else "NAME", text=text,
    )  # fmt: skip


def _with_paths_quoted(text: str) -> str:
    """Arguments with quotes around values that are paths: with a slash, or an ending such as ``.csv``."""

    def quoted(found: re.Match[str]) -> str:
        path = re.search(r"[/\\~]|\.[a-z]{2,5}(:\w+)?$|^\w[\w.]*:[\w.-]+$", found[2])
        return f"{found[1]}{found[2]!r}" if path else found[0]

    return re.sub(r"""(=\s*|^\(\s*)([^\s'"()\[\],=*]+)(?=\s*[,)])""", quoted, text)


def split_outside(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that stand in no brackets, without the spaces around them."""
    parts, depth, quote, start, escaped = [], 0, "", 0, False
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif depth and letter in "'\"":  # outside brackets an apostrophe is part of a path
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth = max(0, depth - 1)
        elif letter == separator and not depth:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def arguments_for(
    call: Call, function: Callable[..., Any], what: str, given: Mapping[str, str]
) -> dict[str, Any]:
    """The arguments of a call in the types that a class or a function asks for.

    Args:
        call: the name and its arguments.
        function: what is behind the name.
        what: what that is, for messages, such as ``model``.
        given: arguments that galab gives itself, each with what to do instead.

    Raises:
        UsageError: there is no such argument, or it takes no such value; the sentence names what is accepted.
    """
    if not call.arguments:
        return {}
    parameters = inspect.signature(function).parameters
    offered = [name for name, one in parameters.items() if one.kind in _NAMED and name not in given]
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    hints = _hints(function)
    found = {}
    for name, value in _all_named(call, offered, what).items():
        if name in given:
            raise UsageError(
                f"expected {what} '{call.name}' without '{name}' in brackets, which galab gives itself; {given[name]}"
            )
        if name not in offered and not anything:
            accepted = f"with arguments out of {', '.join(offered)}" if offered else "without arguments"
            raise UsageError(f"expected {what} '{call.name}' {accepted}, got '{name}'.{closest(name, offered)}")
        try:
            found[name] = _fitting(value, hints.get(name, Any))
        except ValueError:
            raise UsageError(
                f"expected {what} '{call.name}' with {name} of type {_type_words(hints[name])}, got {value!r}; "
                "correct it"
            ) from None
    return found


def _all_named(call: Call, offered: Sequence[str], what: str) -> dict[str, Any]:
    """The arguments of a call, the one without a name under that of the first parameter."""
    arguments = dict(call.arguments)
    if UNNAMED in arguments and offered:
        if offered[0] in arguments:
            raise UsageError(f"expected one '{offered[0]}' of {what} '{call.name}', got two; drop one of them")
        arguments = {offered[0]: arguments.pop(UNNAMED)} | arguments
    return arguments


def _arguments(source: str, *, unnamed: bool) -> dict[str, Any]:
    call = ast.parse(source, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or len(call.args) > unnamed:
        raise ValueError("no call with named arguments alone")
    names = [item.arg for item in call.keywords]
    if None in names or len(set(names)) < len(names):
        raise ValueError("a name is missing or comes twice")
    first = {UNNAMED: _plain(call.args[0], source)} if call.args else {}
    return first | {str(item.arg): _plain(item.value, source) for item in call.keywords}


def _plain(node: ast.expr, source: str) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_plain(item, source) for item in node.elts)
    word = ast.get_source_segment(source, node) or ""
    if not isinstance(node, ast.Constant) and _WORD.fullmatch(word):
        return word
    value = ast.literal_eval(node)
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite or not isinstance(value, bool | int | float | str | None):
        raise ValueError(f"{word} is no plain value")
    return value


def _spelt(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spelt, value))}]"
    bare = isinstance(value, str) and _WORD.fullmatch(value) and not any(map(keyword.iskeyword, value.split("-")))
    # A minus before a digit or at the end would be read back as arithmetic.
    return str(value) if bare and re.fullmatch(r"\w+(-[A-Za-z_]\w*)*", value) and value.isascii() else repr(value)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target: Any = function.__init__ if inspect.isclass(function) else function
    try:
        return typing.get_type_hints(target)
    except (TypeError, NameError, AttributeError):
        return {}  # a user's own code need not be annotated


def _fitting(value: Any, hint: Any) -> Any:
    """The value as the annotated type wants it; what the annotation does not tell is for the function to refuse.

    Raises:
        ValueError: it is of another type.
    """
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for arm in arms:
            try:
                return _fitting(value, arm)
            except ValueError:
                continue
        raise ValueError
    if origin is typing.Literal:
        fits = value in arms
    elif origin in (tuple, list, collections.abc.Sequence):
        return _sequence(value, origin, arms)
    elif hint in (bool, str, types.NoneType):
        fits = isinstance(value, hint)
    elif hint in (int, float):
        fits = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    else:
        fits = True
    if not fits:
        raise ValueError
    return value


def _sequence(value: Any, origin: Any, arms: Sequence[Any]) -> Any:
    if not isinstance(value, tuple):
        raise ValueError
    each = [arms[0]] * len(value) if origin is not tuple or arms[-1] is Ellipsis else list(arms)
    if len(each) != len(value):
        raise ValueError
    fitted = [_fitting(item, arm) for item, arm in zip(value, each, strict=True)]
    return fitted if origin is list else tuple(fitted)


def _type_words(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint).replace("typing.", "")


#: What a member can be scored by; larger is better in each.
BASES = (
    "cross-entropy", "accuracy", "wrong", "expected-accuracy", "sampled-accuracy", "tilldeath", "loss", "closeness",
    "used", "unused", "gradient-cosine", "return", "reward", "kl",
)  # fmt: skip
#: Minus a mean loss, and so differentiable where the loss is.
SMOOTH = ("cross-entropy", "loss")
#: Those of single examples, by which lexicase selection can go.
PER_EXAMPLE = ("cross-entropy", "accuracy", "wrong", "expected-accuracy", "sampled-accuracy", "tilldeath")
#: Those that a bank of memories is asked about itself, whatever the task.
INTRINSIC = ("closeness", "used", "unused")
#: That of a child's direction, for which gradients are computed.
DIRECTIONAL = ("gradient-cosine",)
#: That of the episodes of an environment.
EPISODIC = ("return",)
#: Those of answers to prompts.
PROMPTED = ("reward", "kl")
#: Scores that are made of a member's own and its parents'.
RELATIVE = ("improvement", "inherited")


@dataclass(frozen=True, slots=True)
class FitnessSpec:
    """What ranks the members of a generation.

    Attributes:
        kind: ``absolute``, a member's own score; ``improvement``, its score minus the mean of its parents' on the same
            examples; ``inherited``, its score mixed with its parents'.
        bases: names out of :data:`BASES`, or sums of them such as ``wrong+0.1*closeness`` (:func:`terms`); the first
            ranks, and each further one those that are equal so far.
    """

    kind: str
    bases: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that occurs, once."""
        return tuple(dict.fromkeys(name for base in self.bases for _, name in terms(base)))


@lru_cache(maxsize=64)
def terms(base: str) -> tuple[tuple[float, str], ...]:
    """A base as weights and names: ``wrong+0.1*closeness`` is 1 x wrong and 0.1 x closeness.

    Raises:
        UsageError: a weight is no finite number.
    """
    found = []
    for part in re.split(r"(?<![eE])\+", base):  # 1e+3 is a number
        weight, star, name = (text.strip() for text in part.rpartition("*"))
        try:
            found.append((float(weight) if star else 1.0, name))
        except ValueError:
            found.append((math.nan, name))
        if not math.isfinite(found[-1][0]):
            raise OptionError(
                "expected a number before the * in {fitness}, such as wrong+0.1*closeness, got '{part}'", part=part
            )
    return tuple(found)


@lru_cache(maxsize=64)
def parse_fitness(text: str) -> FitnessSpec:
    """``"improvement:wrong,cross-entropy"`` as a value; a kind alone is that kind of ``cross-entropy``.

    Raises:
        UsageError: a kind or base that is unknown, absent or named twice.
    """
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon:
        kind, rest = (kind, BASES[0]) if kind in RELATIVE else ("absolute", kind)
    elif kind not in RELATIVE:
        raise OptionError(
            "expected {fitness:KIND:BASE} with a kind of {known}, got '{kind}'.{near}",
            known=" or ".join(RELATIVE), kind=kind, near=closest(kind, list(RELATIVE)),
        )  # fmt: skip
    bases = tuple(part.strip() for part in rest.split(","))
    # A bare kind is a word that can be misspelt too, where it could stand.
    known = [*BASES, *RELATIVE] if not colon and len(bases) == 1 else list(BASES)
    for place, base in enumerate(bases):
        for _, name in terms(base):
            if name not in BASES:
                raise OptionError(
                    "expected {fitness} to be made of {bases}, got '{name}'.{near}",
                    bases=", ".join(BASES), name=name, near=closest(name, known),
                )  # fmt: skip
        if base in bases[:place]:
            raise OptionError(
                "expected {fitness} to name a base once, got '{base}' twice; leave out the second", base=base
            )
    spec = FitnessSpec(kind, bases)
    if kind != "absolute" and (found := set(spec.names) & set(DIRECTIONAL)):
        raise OptionError(
            "expected {fitness} {kind}: of a score that parents have too, got {found}, which is a child's step from "
            "its parents already; leave out the kind",
            kind=kind, found=found.pop(),
        )  # fmt: skip
    return spec


def parse_mutations(text: str) -> list[tuple[Call, float]]:
    """Operators with their shares, which sum to 1: ``dense:0.8,layer:0.2``; without shares all are equal.

    A name with a colon of its own, such as ``mine.py:Jump``, keeps it: a share is a number after the last colon. The
    same operator may come again with other arguments: ``weights(count=1):0.8,weights(count=9):0.2``.

    Raises:
        UsageError: a name is missing or twice, arguments cannot be read, or a share is no positive number.
    """
    found: list[tuple[str, float | None]] = []
    for part in split_outside(text, ","):
        name, colon, share = part.rpartition(":")
        try:
            entry = (name, float(share)) if colon else (part, None)
        except ValueError:
            entry = (part, None)  # a reference to the user's own code
        found.append(entry)
    calls = [parse_call(name, "the mutation") for name, _ in found]
    shares = [share for _, share in found]
    given = [share for share in shares if share is not None]
    bad = any(not call.name for call in calls) or any(not (math.isfinite(share) and share > 0) for share in given)
    if bad or (given and len(given) < len(found)) or len(set(map(str, calls))) < len(calls):
        raise OptionError(
            "expected {mutate} as one operator, or as several different ones with positive shares such as "
            "dense:0.8,layer:0.2, got '{text}'",
            text=text,
        )
    total = sum(given)
    return [(call, 1 / len(found) if one is None else one / total) for call, one in zip(calls, shares, strict=True)]


def labels(calls: Sequence[Call]) -> list[str]:
    """A name for each operator of a mix, in the log: the second ``weights`` is ``weights-2``."""
    seen: Counter[str] = Counter()
    found = []
    for call in calls:
        seen[call.name] += 1
        found.append(call.name if seen[call.name] == 1 else f"{call.name}-{seen[call.name]}")
    return found


def parse_bounds(text: str) -> tuple[float, float]:
    """The smallest and the largest value out of ``LOW:HIGH``.

    Raises:
        UsageError: the text is no such pair of finite numbers.
    """
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not (math.isfinite(found[0]) and math.isfinite(found[1]) and found[0] < found[1]):
        raise OptionError(
            "expected {bounds} to be LOW:HIGH, a smaller and a larger number, such as -1:1, got '{text:.80}'",
            text=text,
        )
    return found


def parse_factors(text: str) -> tuple[float, ...]:
    """Positive factors separated by commas, one for each layer.

    Raises:
        UsageError: a factor is no number between 1/1024 and 1024.
    """
    try:
        factors = tuple(float(part) for part in text.split(","))
    except ValueError:
        factors = ()
    if not factors or not all(2**-10 <= factor <= 2**10 for factor in factors):
        raise OptionError(
            "expected {sigma_factors} as numbers between 1/1024 and 1024 such as 1,0.5, got '{text}'", text=text
        )
    return factors


def hidden_sizes(text: str | None) -> tuple[int, ...] | None:
    """``"256,128"`` as ``(256, 128)``; an empty text is no hidden layer, None stays None.

    Raises:
        UsageError: a part is not a whole number of at least 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise OptionError(
            "expected {hidden} as whole numbers separated by commas, such as 256,128, got '{text}'", text=text
        )
    return tuple(int(part) for part in parts)
