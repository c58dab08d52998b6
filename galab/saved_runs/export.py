"""Taking an individual out of a run: as tensors, or as its genome."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.distribution import TABLE_HASHES, parse
from galab.config.strategy_kinds import kind_of
from galab.contracts import Member
from galab.errors import CheckpointError, GalabError, UsageError
from galab.genome import quantile_tables
from galab.genome.births import NO_PARENT, Birth
from galab.genome.develop import develop_all
from galab.genome.initial import GIVEN, Founders
from galab.genome.parameters import frozen_parameters
from galab.genome.random import Table, table
from galab.genome.weights import Layout, Phenotype
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import write_atomic
from galab.strategies.build import developer
from galab.training.checkpoint import lineage_of, members_of
from galab.training.trust import OPERATORS, check
from galab.version import __version__

FORMATS = ("genome", "torch", "safetensors")


def export(saved: SavedRun, to: str, output: Path, *, member: int | None = None, keyframe: bool = False) -> int:
    """Write a parent to a file.

    Args:
        saved: an opened run or checkpoint.
        to: ``torch`` (a ``state_dict``), ``safetensors``, or ``genome`` (seeds as JSON).
        output: the file to write.
        member: rank of the parent by fitness, from 0; the champion when absent.
        keyframe: store the decoded weights in the genome instead of the seeds, for very long lineages.

    Returns:
        Size of the file in bytes.

    Raises:
        UsageError: an unknown format.
        GalabError: the extra for safetensors is not installed, or the lineage is not at hand.
    """
    if to == "genome" and not kind_of(saved.config.strategy).breeds:
        raise UsageError(
            f"expected --to torch or safetensors for the centre of {saved.config.strategy}, got genome: a centre is no "
            "birth; what it follows from is the run folder itself (see `galab verify`)"
        )
    individual = saved.member(member)
    if to == "genome":
        data = json.dumps(genome_of(saved, member, keyframe=keyframe)).encode()
    elif to == "safetensors":
        data = _safetensors(_state_dict(saved, individual))
    elif to == "torch":
        buffer = io.BytesIO()
        torch.save(_state_dict(saved, individual), buffer)
        data = buffer.getvalue()
    else:
        raise UsageError(f"expected --to to be one of {', '.join(FORMATS)}, got '{to}'")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, [data])
    return len(data)


def genome_of(saved: SavedRun, member: int | None = None, *, keyframe: bool = False) -> dict[str, Any]:
    """A parent's genome as JSON-ready data: what is needed to decode it anywhere.

    Args:
        saved: an opened run or checkpoint.
        member: rank of the parent by fitness, from 0; the champion when absent.
        keyframe: store the decoded weights instead of the lineage.
    """
    place, buffers = saved.place(member), saved.state["buffers"]
    individual = members_of(saved.state)[place]
    content: dict[str, Any] = {
        "kind": "galab genome",
        "version": 1,
        "galab": __version__,
        "hyperparameters": saved.config.to_dict(),
        "birth": saved.numbers[place],
        "sha256": _hash(individual.weights),
        "layout": saved.state["layout"],
        "task": saved.state["task"],
        "buffers": {name: [str(value.dtype), list(value.shape), _packed(value)] for name, value in buffers.items()},
        **({"frozen": saved.state["frozen"]} if "frozen" in saved.state else {}),
    }
    if keyframe:
        return content | {"weights": _packed(individual.weights), "log_sigma": _packed(individual.log_sigma)}
    lineage, founders = chain_of(saved, member), saved.founders
    laws = [[law.name, list(law.shape), law.law, law.scale] for law in founders.laws]
    names = {law.law for law in founders.laws if law.law != GIVEN}
    carried = {}
    if saved.config.distribution in TABLE_HASHES:
        names.add(saved.config.distribution)
    else:
        carried["quantiles"] = quantile_tables.pack(saved.law)
    return content | {
        "run_key": founders.run_key,
        "founders": {"laws": laws, "given": _packed(founders.given), "rows": len(founders.given)},
        "tables": {name: TABLE_HASHES[name] for name in sorted(names)},
        "births": [list(row) for row in lineage],
        **carried,
    }


def chain_of(saved: SavedRun, member: int | None = None) -> list[Birth]:
    """A parent's lineage, oldest first: for an asexual individual, its seed chain.

    Raises:
        CheckpointError: the checkpoint lies outside its run folder, without its lineage.
    """
    if not kind_of(saved.config.strategy).breeds:
        raise CheckpointError(
            f"expected a genetic algorithm, got --strategy {saved.config.strategy}, whose centre has no lineage"
        )
    if saved.folder is None or not saved.folder.lineage_path.exists():
        raise CheckpointError(
            f"expected the lineage file of the run beside '{saved.path}', found none: a lone checkpoint holds weights "
            "only; put it back into its run folder, or use --keyframe"
        )
    return lineage_of(saved.records, [saved.numbers[saved.place(member)]])


def read_genome(path: Path, *, trust: bool = False) -> tuple[Layout, Phenotype, dict[str, Any]]:
    """Decode an exported genome.

    Args:
        path: a file written by ``galab export --to genome``.
        trust: run a mutation of the user's own that it names even if it was never run here before.

    Returns:
        Where each parameter lies, the individual, and the file's content.

    Raises:
        UsageError: it names code that is not trusted.
        GalabError: the file is no genome, or decodes to other weights than it was exported with.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layout = Layout(tuple(content["layout"]["names"]), tuple(tuple(shape) for shape in content["layout"]["shapes"]))
        check(RunConfig.from_saved(content["hyperparameters"]), trust=trust, names=OPERATORS)
        individual = _keyframe(content) if "weights" in content else _decode(content)
        good = _hash(individual.weights) == content["sha256"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise GalabError(f"expected an exported genome in '{path}', got {error!r}; export it again") from error
    if not good:
        raise GalabError(
            f"expected the genome in '{path}' to decode to weights with hash {content['sha256'][:12]}, got "
            f"{_hash(individual.weights)[:12]}: the file was changed; export it again"
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
    state = {**content, "buffers": _buffers_in(content)}
    config = RunConfig.from_saved(content["hyperparameters"])
    return SavedRun(state, None, path, config=config, trust=trust).module_with(individual)


def _buffers_in(content: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {
        name: np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype=kind).reshape(shape)
        for name, (kind, shape, data) in content["buffers"].items()
    }


def _keyframe(content: dict[str, Any]) -> Phenotype:
    # Genomes of version 0.1.0 say nothing of step sizes in a keyframe.
    log_sigma = _unpacked(content["log_sigma"], "<i2") if "log_sigma" in content else np.zeros(1)
    return Phenotype(_unpacked(content["weights"]), log_sigma.astype(np.int16))


def _decode(content: dict[str, Any]) -> Phenotype:
    for name, was in content["tables"].items():
        if TABLE_HASHES.get(name) != was:
            raise ValueError(f"the quantile table '{name}' with hash {was[:12]}, which this galab does not have")
    described = content["founders"]
    given = _unpacked(described["given"]).reshape(described["rows"], -1)
    laws = [[name, tuple(shape), law, scale] for name, shape, law, scale in described["laws"]]
    founders = Founders.of_laws(content["run_key"], laws, given)
    births = [Birth(row[0], tuple(p for p in row[1] if p != NO_PARENT), *row[2:]) for row in content["births"]]
    births_by = developer(RunConfig.from_saved(content["hyperparameters"]), founders, _law(content))
    return dict(develop_all(births_by, births, {content["birth"]}))[content["birth"]]


def _law(content: dict[str, Any]) -> Table:
    """The table of the mutations' distribution, which the genome carries where it is not built in."""
    distribution = parse(content["hyperparameters"]["distribution"])
    if distribution.source == "built-in":
        return table(distribution.name)
    return quantile_tables.unpack(distribution, content["quantiles"])


def _safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError:
        raise GalabError(
            "expected the package safetensors for --to safetensors, found none; pip install 'galab[export]'"
        ) from None
    data: bytes = save(tensors)
    return data


def _state_dict(saved: SavedRun, individual: Member) -> dict[str, torch.Tensor]:
    """What the network's own ``state_dict`` holds: tied parameters under both names, transient buffers not at all."""
    buffers = {name: torch.from_numpy(np.array(value)) for name, value in saved.state["buffers"].items()}
    values = {**buffers, **saved.tensors(individual)}
    if set(saved.state["state_names"].values()) - values.keys():
        values |= {name: value.detach() for name, value in frozen_parameters(saved.module).items()}
    # Clones, because safetensors refuses two names for one memory.
    return {key: values[name].clone() for key, name in saved.state["state_names"].items()}


def _packed(values: NDArray[Any]) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(np.ascontiguousarray(little).tobytes(), 6)).decode()


def _unpacked(text: str, kind: str = "<i4") -> NDArray[np.int32]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=kind).astype(np.int32)


def _hash(weights: NDArray[np.int32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(weights, dtype="<i4").tobytes()).hexdigest()
