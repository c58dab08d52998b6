"""The states of searches by hand: plain data and tensors, with a fingerprint of what they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from galab.config import RunConfig
from galab.config.fields import EVOLUTION, FIELDS, MUTATION, OPTIMISER, POPULATION
from galab.config.option import understands
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError

#: Headings of what a search by hand is made with.
_SEARCH = (POPULATION, MUTATION, EVOLUTION, OPTIMISER)
#: Names of the parts of a table of records in a state.
_RECORDS, _ROWS = "records", "rows"


def portable(value: Any) -> Any:
    """The same with tensors in the place of arrays, so that ``torch.load(..., weights_only=True)`` reads it.

    A table of records becomes ``{"records": its fields, "rows": (n, bytes) uint8}``.
    """
    if isinstance(value, np.ndarray) and value.dtype.names:
        fields = [[name, value.dtype[name].base.str, list(value.dtype[name].shape)] for name in value.dtype.names]
        packed = np.ascontiguousarray(value, dtype=_dtype(fields))
        rows = np.frombuffer(packed.tobytes(), dtype=np.uint8).reshape(len(value), packed.dtype.itemsize)
        return {_RECORDS: fields, _ROWS: torch.from_numpy(rows.copy())}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: portable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [portable(part) for part in value]
    return value


def restored(value: Any) -> Any:
    """What :func:`portable` was given; arrays stay arrays."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, Mapping) and value.keys() == {_RECORDS, _ROWS}:
        dtype = _dtype(value[_RECORDS])
        rows = np.ascontiguousarray(restored(value[_ROWS]), dtype=np.uint8)
        return np.frombuffer(rows.tobytes(), dtype=dtype).copy()
    if isinstance(value, Mapping):
        return {name: restored(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [restored(part) for part in value]
    return value


def _dtype(fields: list[list[Any]]) -> np.dtype[Any]:
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in fields])


def fingerprint(config: RunConfig, **further: Any) -> dict[str, Any]:
    """What a state depends on: the hyperparameters but for those that may change on the way, and what else is given."""
    kind = kind_of(config.strategy).name
    own = {
        name: getattr(config, name)
        for name, item in FIELDS.items()
        if understands(item, kind)
        and not item.metadata["changeable"]
        and (name in ("seed", "strategy") or item.metadata["group"] in _SEARCH)
    }
    return {**own, **further}


def check_fingerprint(state: Any, own: Mapping[str, Any], who: str) -> None:
    """Refuse a state that was made with other arguments; one without a fingerprint is older, and taken.

    Args:
        state: what somebody loads.
        own: the fingerprint here.
        who: the class with its article, for the message.

    Raises:
        UsageError: the first difference.
    """
    if not isinstance(state, Mapping):
        raise UsageError(f"expected what state_dict() of {who} gave, got an object of type {type(state).__name__}")
    given = state.get("fingerprint", own)
    # What an older version did not have yet had the effect of today's default.
    given = {name: FIELDS[name].default for name in own if name in FIELDS and name not in given} | dict(given)
    different = [name for name in (*own, *given) if own.get(name) != given.get(name)]
    if different:
        name = different[0]
        if name.endswith("_sha256"):
            raise UsageError(
                f"expected the state of {who} of this network, with what it starts from, got one of another network, "
                "or with other weights at the start; make it with the module that the state was made with"
            )
        raise UsageError(
            f"expected the state of {who} with {name}={own.get(name)!r}, as this one has, got one with "
            f"{name}={given.get(name)!r}; make it with the arguments that the state was made with"
        )
