"""The base of a language model: a causal model of Hugging Face whose linear layers ask for their weights.

Its own weights never change, are no part of the network that is evolved, and stand in no checkpoint. Needs the extra
``llm``.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import inspect
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from galab.errors import UsageError
from galab.models import smollm2

logger = logging.getLogger("galab")
#: The model that ships with galab.
TINY = "tiny"
_INSTALL = "pip install 'galab[llm]'"
#: What says how a base answers, beside its weights.
_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja",
)  # fmt: skip
#: Parts of a configuration on which no answer depends.
_SAYS_NOTHING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
#: From a layer's path, the layer and its input to its output.
Rule = Callable[[str, nn.Linear, Tensor], Tensor]


class BaseModel:
    """A causal language model with its tokenizer.

    Args:
        name: ``tiny``; ``smollm2``; a folder; or a name on the Hugging Face hub.

    Attributes:
        model: its layers are :class:`_Layer` where they were linear.
        tokenizer: pads to the left.
        linear: path to each linear layer, in the model's order; the head that shares the embedding's weights is none.
        digest: SHA-256 (hex) of everything that an answer depends on: weights, configuration and tokenizer.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.model, self.tokenizer = _loaded(name)
        self.model.eval().requires_grad_(False)
        if name != TINY and not self.tokenizer.chat_template:
            logger.warning("base '%s' has no chat template, so it is asked prompts as they are, without one", name)
        self.digest = _digest(self.model, _place(_transformers(), name))
        self._rule: Rule | None = None
        self.linear: dict[str, nn.Linear] = {}
        embeddings = id(self.model.get_input_embeddings().weight)
        for path, layer in list(self.model.named_modules()):
            if type(layer).__name__ == "Conv1D":
                raise UsageError(
                    f"model 'llm(base={name})': expected linear layers, got Conv1D at '{path}', which keeps its "
                    "weights the other way round; use a model of torch.nn.Linear, such as Llama or Qwen"
                )
            if isinstance(layer, nn.Linear) and id(layer.weight) != embeddings:
                self.linear[path] = layer
        for path, layer in self.linear.items():
            parent, _, leaf = path.rpartition(".")
            setattr(self.model.get_submodule(parent), leaf, _Layer(self, path, layer))

    def __deepcopy__(self, memo: dict[int, Any]) -> BaseModel:
        return self  # it never changes

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device(self.model.device)

    @property
    def library(self) -> str:
        """What computes it, with its version."""
        return f"transformers {_transformers().__version__}"

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 30))

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def ends(self) -> frozenset[int]:
        """Tokens after which an answer is over."""
        given = [self.model.config.eos_token_id, self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id]
        found = [token for value in given for token in (value if isinstance(value, list) else [value])]
        return frozenset(token for token in found if token is not None)

    def new_cache(self) -> dict[str, Any]:
        """An empty cache of keys and values, as the argument of the model's forward that it is."""
        name = "cache" if "cache" in inspect.signature(self.model.forward).parameters else "past_key_values"
        return {name: _transformers().DynamicCache(config=self.model.config)}

    def joined_caches(self, caches: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One cache of the rows of several, which are emptied: there is memory for each layer's twice, not for all."""
        (name,) = caches[0]
        first, *others = (cache[name] for cache in caches)
        for place, layer in enumerate(first.layers):
            rest = [other.layers[place] for other in others]
            for part in ("keys", "values"):
                setattr(layer, part, torch.cat([getattr(one, part) for one in (layer, *rest)]))
                for one in rest:
                    setattr(one, part, None)
        return {name: first}

    def own_weights(self) -> dict[str, Tensor]:
        """All weights by the names that the model's folder gives them; tied ones once."""
        found, known = dict[str, Tensor](), set[int]()
        for name, value in self.model.state_dict().items():
            if value.data_ptr() not in known:
                known.add(value.data_ptr())
                found[name.replace(".layer.weight", ".weight").replace(".layer.bias", ".bias")] = value
        return found

    @contextmanager
    def using(self, rule: Rule) -> Iterator[Any]:
        """The model, with a rule that computes its linear layers."""
        self._rule = rule
        try:
            yield self.model
        finally:
            self._rule = None

    def answer_of(self, path: str, layer: nn.Linear, x: Tensor) -> Tensor:
        """The output of a linear layer."""
        return layer(x) if self._rule is None else self._rule(path, layer, x)

    def tokens(self, prompt: str) -> list[int]:
        """A prompt as the model sees it, by its chat template where it has one.

        Raises:
            UsageError: the tokenizer does not know what is in it.
        """
        try:
            if self.tokenizer.chat_template:
                talk = [{"role": "user", "content": prompt}]
                text = self.tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
                found = self.tokenizer.encode(text, add_special_tokens=False)
            else:
                found = self.tokenizer.encode(prompt)
        except Exception as error:  # the Rust library raises plain exceptions
            found, reason = [], f" ({error})"
        else:
            reason = ""
        if not found:
            raise UsageError(
                f"expected a prompt that the tokenizer of '{self.name}' can read, got {prompt[:60]!r}{reason}; use "
                "other prompts, or another base"
            )
        return [int(token) for token in found]

    def text(self, tokens: list[int]) -> str:
        """An answer in words, without its end."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def chosen(self, layers: str | None) -> list[str]:
        """The paths of the linear layers in some blocks.

        Args:
            layers: numbers of blocks, ``0-9`` or ``0,2,4-7``; or patterns of paths, ``*q_proj``. All when None.

        Raises:
            UsageError: there is no such layer.
        """
        if layers is None:
            return list(self.linear)
        found = list[str]()
        for part in filter(None, (one.strip() for one in layers.split(","))):
            first, dash, last = part.partition("-")
            if first.isdecimal() and (last.isdecimal() or not dash):
                low, high = int(first), int(last or first)
                own = [path for path in self.linear if low <= block_of(path, -1) <= high]
            else:
                own = fnmatch.filter(self.linear, part)
            if not own:
                raise UsageError(
                    f"expected --layers to name blocks or linear layers of '{self.name}', got '{part}', which is none; "
                    f"it has {', '.join(list(self.linear)[:8])}, ..."
                )
            found += own
        return [path for path in self.linear if path in set(found)]


class _Layer(nn.Module):
    """Stands where a linear layer was, and asks the base what the rule of the moment makes of its input."""

    def __init__(self, base: BaseModel, path: str, layer: nn.Linear) -> None:
        super().__init__()
        self._own = (base, path)
        self.layer = layer

    @property
    def weight(self) -> Tensor:
        """Some models look at the type of a layer's weights."""
        return self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        base, path = self._own
        return base.answer_of(path, self.layer, x)


def block_of(path: str, none: int) -> int:
    """The number of the block that a layer is in: the first number in its path."""
    return next((int(part) for part in path.split(".") if part.isdecimal()), none)


def load_base(name: str) -> BaseModel:
    """The base of a name; loaded once in a process.

    Raises:
        UsageError: it cannot be had, or its layers cannot be adapted.
    """
    return _known(name, str(Path(name).resolve()) if Path(name).is_dir() else "")


@lru_cache(maxsize=2)
def _known(name: str, place: str) -> BaseModel:
    """By its name, and its place where it is a folder."""
    return BaseModel(name)


def _transformers() -> Any:
    """Hugging Face's transformers.

    Raises:
        UsageError: the extra is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = importlib.import_module("transformers")
            importlib.import_module("safetensors")
    except ModuleNotFoundError as error:
        if error.name not in ("transformers", "safetensors"):
            raise
        raise UsageError(
            f"expected transformers and safetensors for --model llm, found no {error.name}; install them with: "
            f"{_INSTALL}"
        ) from error
    found.logging.set_verbosity_error()
    found.logging.disable_progress_bar()
    return found


def _loaded(name: str) -> tuple[Any, Any]:
    transformers = _transformers()
    place = str(_place(transformers, name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A model may come with code of its own, or with weights that are pickles: neither is taken.
            options: dict[str, Any] = {"trust_remote_code": False}
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                place, dtype=torch.float32, use_safetensors=True, attn_implementation="sdpa", **options
            )
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"expected a causal language model as 'llm(base={name})': {TINY}, {smollm2.NAME}, a folder with "
            "config.json, tokenizer and safetensors, or such a name on the Hugging Face hub, got "
            f"{type(error).__name__}: {reason:.200}; correct it"
        ) from error
    if tokenizer.eos_token_id is None and model.config.eos_token_id is None:
        raise UsageError(f"model 'llm(base={name})': expected a token that ends an answer, got none; set its eos_token")
    return model, tokenizer


def _place(transformers: Any, name: str) -> Path | str:
    """Where transformers finds a base."""
    if name == TINY:
        return Path(__file__).parent / "tiny_language_model"
    return smollm2.folder(transformers) if name == smollm2.NAME else name


def _digest(model: Any, place: Path | str) -> str:
    """Of the files themselves, as another version of the library may read more into them."""
    digest = hashlib.sha256()
    for file in _FILES:
        found = _transformers().utils.cached_file(str(place), file, _raise_exceptions_for_missing_entries=False)
        content = b"" if found is None else Path(found).read_bytes()
        if file == "config.json":
            told = {name: value for name, value in json.loads(content).items() if name not in _SAYS_NOTHING}
            content = json.dumps(told, sort_keys=True).encode()
        digest.update(f"{file} {len(content)}\n".encode() + content)
    for name, value in model.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def plain(path: str, layer: nn.Linear, x: Tensor) -> Tensor:
    """The rule of the base itself."""
    return F.linear(x, layer.weight, layer.bias)
