"""Exported genomes: JSON that says how to make an individual, read without trust.

Whoever writes such a file decides how much memory its reader takes: a few bytes of a compressed text, or of a shape,
can ask for gigabytes. So every size is compared before memory is taken for it: texts are unpacked up to the length
that the layout gives, the layout must be that of the network which the configuration names, and layout, ancestors and
values are bounded unless the caller trusts the file.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.distribution import TABLE_HASHES, parse
from galab.config.parsing import parse_mutations
from galab.config.strategy_kinds import kind_of
from galab.errors import GalabError, UsageError
from galab.genome import quantile_tables
from galab.genome.births import NO_PARENT, Birth
from galab.genome.develop import develop_all
from galab.genome.domain import Domain
from galab.genome.initial import Founders
from galab.genome.random import Table, table
from galab.genome.step_sizes import HIGHEST, LOWEST
from galab.genome.weights import Layout, Phenotype
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import read_json
from galab.storage.leaves import Leaves
from galab.storage.pickle_format import ELEMENT_TYPES
from galab.strategies.build import developer, steps_of
from galab.training.checkpoint import config_from
from galab.training.checkpoint_schema import check_laws, layout_in, observation_sums_in, task_in
from galab.training.saved_state import check_size
from galab.training.trust import OPERATORS, check

#: Of a file that is not trusted: bytes, values, weights, and weights of all individuals that are alive at one time.
#: Decoding takes up to 60 bytes for each weight, so 250 MB.
MAX_BYTES, MAX_VALUES, MAX_WEIGHTS, MAX_ALIVE = 2**27, 2_000_000, 2**22, 2**24
#: Memory for the changes of single mutations while a genome is decoded, in MiB.
_CACHE_MB = 64
_NO_BOUND = 2**62
_ADVICE = "export it again"


def read_genome(path: Path, *, trust: bool = False) -> tuple[Layout, Phenotype, dict[str, Any]]:
    """Decode an exported genome.

    Args:
        path: a file written by ``galab export --to genome``.
        trust: run a mutation of the user's own that it names even if it was never run here before, and take as much
            memory as the file asks for.

    Returns:
        Where each parameter lies, the individual, and the file's content.

    Raises:
        UsageError: it names code that is not trusted.
        GalabError: the file is no genome, is too large, or decodes to other weights than it was exported with.
    """
    bounds = {"max_bytes": _NO_BOUND, "max_values": _NO_BOUND} if trust else {}
    try:
        content = read_json(path, **({"max_bytes": MAX_BYTES, "max_values": MAX_VALUES} | bounds))
        layout, individual = decoded_genome(content, path, trust=trust, bounded=not trust)
    except UsageError:
        raise
    except GalabError as error:
        raise GalabError(f"expected an exported genome in '{path}', got another file: {error}") from error
    found = hash_of(individual.weights, layout.domain)
    if found != content["sha256"]:
        raise GalabError(
            f"expected the genome in '{path}' to decode to weights with hash {content['sha256'][:12]}, got "
            f"{found[:12]}: the file was changed; {_ADVICE}"
        )
    return layout, individual, content


def network_of_genome(path: Path, *, trust: bool = False) -> torch.nn.Module:
    """The network of an exported genome, with its weights.

    Args:
        path: a file written by ``galab export --to genome``.
        trust: run code that it names even if it was never run here before.

    Raises:
        GalabError: the file is no genome, or was changed.
        UsageError: it names code that is not trusted.
    """
    _, individual, content = read_genome(path, trust=trust)
    state = {**content, "buffers": _buffers(content)}
    config = RunConfig.from_saved(content["hyperparameters"])
    return SavedRun(state, None, path, config=config, trust=trust).module_with(individual)


def decoded_genome(
    content: Any, path: Path, *, trust: bool = False, bounded: bool = True
) -> tuple[Layout, Phenotype]:
    """The individual of a genome's content; its hash is for the caller to compare.

    Args:
        content: of the file.
        path: the file, for messages.
        trust: see :func:`read_genome`.
        bounded: refuse what asks for much memory.

    Raises:
        UsageError: it names code that is not trusted.
        GalabError: a value is out of place, or asks for too much memory.
    """
    leaves = Leaves(path, GalabError, _ADVICE)
    content = leaves.mapping(content, "the file")
    if content.get("kind") != "galab genome" or content.get("version") != 1:
        leaves.refuse("kind", "a galab genome of version 1", [content.get("kind"), content.get("version")])
    config = config_from(content.get("hyperparameters"), path, GalabError)
    if not kind_of(config.strategy).breeds:
        leaves.refuse("hyperparameters.strategy", "a genetic algorithm", config.strategy)
    check(config, trust=trust, names=OPERATORS)
    layout = layout_in(leaves, content.get("layout"), config)
    if bounded and layout.size > MAX_WEIGHTS:
        leaves.refuse("layout", f"at most {MAX_WEIGHTS:,} weights (trust=True allows more)", layout.size)
    for name in ("sha256", "frozen"):
        if name == "sha256" or name in content:
            leaves.digest(content.get(name), name)
    state = {"task": task_in(leaves, content.get("task")), "buffers": _checked_buffers(leaves, content, bounded)}
    observation_sums_in(leaves, config, state["task"], state["buffers"])
    check_size(config, layout, state, str(path))
    if "weights" in content:
        return layout, _keyframe(leaves, content, config, layout)
    try:
        return layout, _decoded(leaves, content, config, layout, bounded)
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise GalabError(f"expected births in '{path}' that can be, got {error!r:.200}; {_ADVICE}") from error


def _keyframe(leaves: Leaves, content: dict[str, Any], config: RunConfig, layout: Layout) -> Phenotype:
    """An individual whose weights are stored; genomes of version 0.1.0 say nothing of its step sizes."""
    weights = unpacked(leaves, content["weights"], "weights", "<i4", layout.size)
    if not layout.domain.allows(weights).all():
        leaves.refuse("weights", layout.domain.shown, "another one")
    log_sigma = np.zeros(1, dtype=np.int16)
    if "log_sigma" in content:
        size = steps_of(config, layout).size
        log_sigma = unpacked(leaves, content["log_sigma"], "log_sigma", "<i2", size).astype(np.int16)
        leaves.within(log_sigma, "log_sigma", LOWEST, HIGHEST)
    return Phenotype(weights.astype(np.int32), log_sigma, bits=layout.domain.bits)


def _decoded(
    leaves: Leaves, content: dict[str, Any], config: RunConfig, layout: Layout, bounded: bool
) -> Phenotype:
    """An individual out of its seeds."""
    for name, was in leaves.mapping(content.get("tables"), "tables").items():
        if TABLE_HASHES.get(name) != was:
            leaves.refuse(f"tables.{name}", "a quantile table that this galab has", was)
    described = leaves.mapping(content.get("founders"), "founders")
    drawn, given = check_laws(leaves, described.get("laws"), config)
    if drawn != layout:
        leaves.refuse("founders.laws", "the parameters of the layout", "others")
    most = MAX_ALIVE // max(given, 1) if bounded else _NO_BOUND
    rows = leaves.whole(described.get("rows"), "founders.rows", 1, most)
    weights = unpacked(leaves, described.get("given"), "founders.given", "<i4", rows * given)
    laws = [[name, tuple(shape), law, scale] for name, shape, law, scale in described["laws"]]
    run_key = leaves.whole(content.get("run_key"), "run_key")
    founders = Founders.of_laws(
        run_key, laws, weights.astype(np.int32).reshape(rows, given), domain=layout.domain
    )
    births = _births(leaves, content.get("births"), config)
    wanted = leaves.whole(content.get("birth"), "birth")
    if wanted not in {birth.id for birth in births}:
        leaves.refuse("birth", "one of the births", wanted)
    alive = _most_alive(births)
    if bounded and alive * layout.size > MAX_ALIVE:
        leaves.refuse("births", f"at most {MAX_ALIVE:,} weights at one time (trust=True allows more)", alive)
    config = dataclasses.replace(config, cache_mb=min(config.cache_mb, _CACHE_MB))
    births_by = developer(config, founders, _law(leaves, content, config))
    return dict(develop_all(births_by, births, {wanted}))[wanted]


def _births(leaves: Leaves, value: Any, config: RunConfig) -> list[Birth]:
    """The lineage, oldest first: each birth once, and parents before their children."""
    found: list[Birth] = []
    known: set[int] = set()
    operators = len(parse_mutations(config.mutate))
    for row in leaves.listing(value, "births"):
        birth, slots, generation, argument, log_sigma, crossover, mutation = leaves.listing(row, "births", 7)
        parents = tuple(parent for parent in leaves.listing(slots, "births") if parent != NO_PARENT)
        if any(type(parent) is not int or parent not in known for parent in parents):
            leaves.refuse("births", "parents that were born before", row)
        leaves.whole(generation, "births", 0, 2**31 - 1)
        leaves.whole(argument, "births", -(2**31), 2**31 - 1)
        leaves.whole(log_sigma, "births", LOWEST, HIGHEST)
        leaves.whole(crossover, "births", 0, 1)
        leaves.whole(mutation, "births", 0, operators)
        if leaves.whole(birth, "births") in known or (parents and max(parents) >= birth):
            leaves.refuse("births", "each birth once, after its parents", row)
        known.add(birth)
        found.append(Birth(birth, parents, generation, argument, log_sigma, crossover, mutation))
    return found


def _most_alive(births: Sequence[Birth]) -> int:
    """How many individuals are held at one time while they are developed one after the other."""
    children = Counter(parent for birth in births for parent in birth.parents)
    alive = most = 0
    for birth in births:
        alive += 1
        most = max(most, alive)
        for parent in birth.parents:
            children[parent] -= 1
            alive -= not children[parent]
        alive -= not children[birth.id]
    return most


def _law(leaves: Leaves, content: dict[str, Any], config: RunConfig) -> Table:
    """The table of the mutations' distribution, which the genome carries where it is not built in."""
    distribution = parse(config.distribution)
    if distribution.source == "built-in":
        return table(distribution.name)
    if type(content.get("quantiles")) is not str:
        leaves.refuse("quantiles", "a packed quantile table", content.get("quantiles"))
    return quantile_tables.unpack(distribution, content["quantiles"])


def _checked_buffers(leaves: Leaves, content: dict[str, Any], bounded: bool) -> dict[str, NDArray[Any]]:
    """The buffers of the network; nothing is unpacked before their sizes were added up."""
    parts = leaves.mapping(content.get("buffers"), "buffers")
    total = 0
    for name, part in parts.items():
        kind, shape, data = leaves.listing(part, f"buffers.{name}", 3)
        if type(kind) is not str or type(data) is not str or kind not in _BUFFER_TYPES:
            leaves.refuse(f"buffers.{name}", "an element type, a shape and a packed text", part)
        lengths = leaves.shape(shape, f"buffers.{name}", MAX_WEIGHTS if bounded else _NO_BOUND)
        total += math.prod(lengths) * np.dtype(kind).itemsize
    if bounded and total > 4 * MAX_WEIGHTS:
        leaves.refuse("buffers", f"at most {4 * MAX_WEIGHTS:,} bytes (trust=True allows more)", total)
    return {
        name: unpacked(leaves, data, f"buffers.{name}", kind, math.prod(shape)).reshape(shape)
        for name, (kind, shape, data) in parts.items()
    }


def _buffers(content: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The buffers of a genome that was read."""
    return _checked_buffers(Leaves(Path("genome"), GalabError, _ADVICE), content, bounded=False)


#: Names that NumPy gives the element types of a checkpoint.
_BUFFER_TYPES = frozenset(np.dtype(kind).name for kind in ELEMENT_TYPES)


def packed(values: NDArray[Any]) -> str:
    """Numbers as a text for JSON: compressed, little-endian."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(np.ascontiguousarray(little).tobytes(), 6)).decode()


def unpacked(leaves: Leaves, text: Any, key: str, kind: str, count: int) -> NDArray[Any]:
    """Numbers out of a text, of which there must be ``count``; no more memory is taken than they need.

    Args:
        leaves: of the file.
        text: what :func:`packed` made.
        key: place of the text in the file.
        kind: their element type.
        count: how many.
    """
    if type(text) is not str:
        leaves.refuse(key, "a packed text", text)
    dtype = np.dtype(kind).newbyteorder("<")
    size = count * dtype.itemsize
    try:
        # One byte more than there should be is enough to see that the text is too long.
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        leaves.refuse(key, f"a packed text ({error})", text)
    if len(data) != size:
        leaves.refuse(key, f"{count:,} numbers in {size:,} bytes", f"{len(data):,} bytes or more")
    return np.frombuffer(data, dtype=dtype)


def hash_of(weights: NDArray[np.int32], domain: Domain) -> str:
    """SHA-256, in hexadecimal, of weights in units of 2^-bits, and of what numbers they may be."""
    digest = hashlib.sha256(np.ascontiguousarray(weights, dtype="<i4").tobytes())
    digest.update(domain.written.encode())
    return digest.hexdigest()
