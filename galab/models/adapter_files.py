"""An adapter of low rank as the two files that PEFT, SGLang and vLLM read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from galab.models.base_model import block_of
from galab.models.language_model import LanguageModel

#: Files of an adapter, by the names that PEFT gives them.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def adapter_files(model: LanguageModel, weights: Mapping[str, Tensor], *, rank_step: int = 1) -> dict[str, bytes]:
    """The two files of an adapter: name to content. Its scale is in the factors, so that lora_alpha is the rank.

    Args:
        model: says what the weights are.
        weights: name of each parameter to its values.
        rank_step: the rank is filled up with zeros to a multiple of this, which changes no product.
    """
    from safetensors.torch import save

    tensors = dict[str, Tensor]()
    for path, layer in model.adapted.items():
        first, second = (weights[name].cpu() * math.sqrt(layer.scale) for name in layer.names)
        more = -len(first) % rank_step
        tensors[f"base_model.model.{path}.lora_A.weight"] = F.pad(first, (0, 0, 0, more)).contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = F.pad(second, (0, more)).contiguous()
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


def has_plain_targets(model: LanguageModel) -> bool:
    """Whether the adapted layers can be named as servers understand them: by kinds of layers and numbers of blocks."""
    return not any("." in name for name in _targets(model)["target_modules"])
