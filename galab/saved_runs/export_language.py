"""Taking a language model out of a run: merged with its base, or as an adapter that PEFT and servers read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from galab.contracts import Member
from galab.errors import UsageError
from galab.models.base_model import block_of
from galab.models.language_model import LanguageModel
from galab.saved_runs.saved_run import SavedRun
from galab.storage.files import write_atomic

#: Files of an adapter, by the names that PEFT gives them.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merged(saved: SavedRun, individual: Member) -> dict[str, Tensor]:
    """All weights of the base, with what was evolved, by the base's own names."""
    model = language_model(saved)
    found = {name: value.cpu().clone() for name, value in model.base.own_weights().items()}
    return found | {f"{path}.weight": value for path, value in model.merged(saved.tensors(individual)).items()}


def write_adapter(saved: SavedRun, individual: Member, folder: Path) -> int:
    """Write an adapter as PEFT has it: two files in a folder.

    Returns:
        Bytes written.

    Raises:
        UsageError: what was evolved is no adapter, or the folder is a file.
    """
    model = language_model(saved)
    if saved.config.adapt != "lora":
        raise UsageError(
            f"expected a run with --adapt lora for --to peft, got --adapt {saved.config.adapt}, which changes whole "
            "matrices; use --to safetensors, which merges them with the base"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"expected a folder for --to peft, got the file '{folder}'; name another place") from error
    files = adapter_files(model, saved.tensors(individual))
    for name, content in files.items():
        write_atomic(folder / name, [content])
    return sum(map(len, files.values()))


def adapter_files(model: LanguageModel, weights: dict[str, Tensor]) -> dict[str, bytes]:
    """The two files of an adapter: name to content. Its scale is in the factors, so that lora_alpha is the rank.

    Args:
        model: says what the weights are.
        weights: name of each parameter to its values.
    """
    from safetensors.torch import save

    tensors = dict[str, Tensor]()
    for path, layer in model.adapted.items():
        first, second = (weights[name].contiguous() for name in layer.names)
        root = math.sqrt(layer.scale)
        tensors[f"base_model.model.{path}.lora_A.weight"] = first * root
        tensors[f"base_model.model.{path}.lora_B.weight"] = second * root
    rank = next(iter(tensors.values())).shape[0]
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": model.base.name, "r": rank,
        "lora_alpha": rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "use_rslora": False, "use_dora": False, "init_lora_weights": True, **_targets(model),
    }  # fmt: skip
    written = json.dumps(config, indent=1) + "\n"
    return {ADAPTER_CONFIG: written.encode(), ADAPTER_WEIGHTS: bytes(save(tensors, metadata={"format": "pt"}))}


def _targets(model: LanguageModel) -> dict[str, Any]:
    """The adapted layers as servers understand them: names of layers, and numbers of blocks where not all are meant."""
    leaves = sorted({path.rpartition(".")[2] for path in model.adapted})
    alike = {path for path in model.base.linear if path.rpartition(".")[2] in leaves}
    blocks = {block_of(path, -1) for path in model.adapted}
    if alike == set(model.adapted):
        return {"target_modules": leaves}
    if {path for path in alike if block_of(path, -1) in blocks} == set(model.adapted) and -1 not in blocks:
        return {"target_modules": leaves, "layers_to_transform": sorted(blocks)}
    return {"target_modules": list(model.adapted)}


def language_model(saved: SavedRun) -> LanguageModel:
    """The language model of a run.

    Raises:
        UsageError: its network is another one.
    """
    if not isinstance(saved.module, LanguageModel):
        raise UsageError(
            f"{saved.path}: expected a run of a language model, got --model {saved.config.model}; choose another run, "
            "or another format"
        )
    return saved.module

