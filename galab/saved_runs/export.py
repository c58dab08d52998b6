"""Taking an individual out of a run: as tensors, or as its genome."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galab.config.distribution import TABLE_HASHES
from galab.config.strategy_kinds import kind_of
from galab.contracts import Member
from galab.errors import CheckpointError, GalabError, UsageError
from galab.genome import quantile_tables
from galab.genome.births import Birth
from galab.genome.parameters import frozen_parameters
from galab.genome.weights import Phenotype
from galab.models.language_model import LanguageModel
from galab.saved_runs.export_language import merged, write_adapter
from galab.saved_runs.genome_file import decoded_genome, hash_of, network_of_genome, packed, read_genome
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import output_place, write_atomic
from galab.training.checkpoint import lineage_of, members_of
from galab.version import __version__

__all__ = ["FORMATS", "chain_of", "export", "genome_of", "network_of_genome", "read_genome"]

FORMATS = ("genome", "torch", "safetensors", "peft")


def export(saved: SavedRun, to: str, output: Path, *, member: int | None = None, keyframe: bool = False) -> int:
    """Write a parent to a file.

    Args:
        saved: an opened run or checkpoint.
        to: ``torch`` (a ``state_dict``), ``safetensors``, ``genome`` (seeds as JSON), or ``peft``, a folder with an
            adapter. A language model as ``safetensors`` is merged with its base.
        output: the file to write; a link is written through, a device gets the bytes.
        member: rank of the parent by fitness, from 0; the champion when absent.
        keyframe: store the decoded weights in the genome instead of the seeds, for very long lineages.

    Returns:
        Size of the file in bytes.

    Raises:
        UsageError: an unknown format, or a genome with code of the user's own that is not trusted.
        CheckpointError: the lineage is not at hand, or the genome would not decode to the individual; nothing is
            written then.
        GalabError: the extra for safetensors is not installed.
    """
    if to == "genome" and not kind_of(saved.config.strategy).breeds:
        raise UsageError(
            f"expected --to torch or safetensors for the centre of {saved.config.strategy}, got genome: a centre is no "
            "birth; what it follows from is the run folder itself (see `galab verify`)"
        )
    individual = saved.member(member)
    if to == "peft":
        return write_adapter(saved, individual, output)
    if to == "genome":
        if not saved.frozen_as_constructed:
            raise UsageError(
                "expected frozen parameters as the model's constructor gives them for --to genome, which holds their "
                "hash alone, got those of a file or of an earlier constructor; use --to torch or --to safetensors"
            )
        content = genome_of(saved, member, keyframe=keyframe)
        _check_genome(saved, content, individual, output)
        data = json.dumps(content).encode()
    elif to == "safetensors":
        whole = merged if isinstance(saved.module, LanguageModel) else _state_dict
        data = _safetensors(whole(saved, individual))
    elif to == "torch":
        buffer = io.BytesIO()
        torch.save(_state_dict(saved, individual), buffer)
        data = buffer.getvalue()
    else:
        raise UsageError(f"expected --to to be one of {', '.join(FORMATS)}, got '{to}'")
    with output_place(output) as place:
        write_atomic(place, [data])
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
        "sha256": hash_of(individual.weights, saved.layout.domain),
        "layout": saved.state["layout"],
        "task": saved.state["task"],
        "buffers": {name: [str(value.dtype), list(value.shape), packed(value)] for name, value in buffers.items()},
        **({"frozen": saved.state["frozen"]} if "frozen" in saved.state else {}),
    }
    if keyframe:
        return content | {"weights": packed(individual.weights), "log_sigma": packed(individual.log_sigma)}
    lineage, founders = chain_of(saved, member), saved.founders
    laws = [[law.name, list(law.shape), law.law, law.scale] for law in founders.laws]
    names = {law.law for law in founders.laws if law.law in TABLE_HASHES}
    carried = {}
    if saved.config.distribution in TABLE_HASHES:
        names.add(saved.config.distribution)
    else:
        carried["quantiles"] = quantile_tables.pack(saved.law)
    return content | {
        "run_key": founders.run_key,
        "founders": {"laws": laws, "given": packed(founders.given), "rows": len(founders.given)},
        "tables": {name: TABLE_HASHES[name] for name in sorted(names)},
        "births": [list(row) for row in lineage],
        **carried,
    }


def _check_genome(saved: SavedRun, content: dict[str, Any], individual: Member, output: Path) -> None:
    """Decode a genome before it is written: a damaged lineage must not become a file that cannot be read.

    Raises:
        CheckpointError: it does not decode to the individual.
    """
    assert isinstance(individual, Phenotype)
    reason = "other weights"
    try:
        _, decoded = decoded_genome(json.loads(json.dumps(content)), output, trust=saved.trust, bounded=False)
        if np.array_equal(decoded.weights, individual.weights) and np.array_equal(
            decoded.log_sigma, individual.log_sigma
        ):
            return
    except UsageError:
        raise
    except GalabError as error:
        reason = str(error)
    raise CheckpointError(
        f"expected the seeds in '{saved.home.path}' to lead to the weights in '{saved.path}', got {reason}; the run is "
        "damaged: see `galab verify`, and take the weights themselves with --keyframe or --to torch"
    )


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
    if set(saved.state["state_names"].values()) - values.keys() - {""}:
        values |= {name: value.detach() for name, value in frozen_parameters(saved.module).items()}
    # Clones, because safetensors refuses two names for one memory.
    names = saved.state["state_names"]
    empty = saved.module.state_dict() if "" in names.values() else {}
    return {key: (values[name] if name else empty[key]).clone() for key, name in names.items()}
