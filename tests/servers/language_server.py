"""A server that speaks as SGLang and vLLM do, over the real tiny model, with faults behind switches.

It shares no code with galab: it reads the files of adapters by itself and computes with a plain model of transformers.
So an answer that equals galab's says that names, files, scales and signs of adapters are right.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import galab.models

TINY = Path(galab.models.__file__).parent / "tiny_language_model"


@dataclass
class Faults:
    """What the server does wrong.

    Attributes:
        ignores_adapters: answers of the base, with status 200, whatever is asked for.
        keeps_first: an adapter that is loaded under a known name is not read again.
        no_lora: was started without it.
        largest_rank: of an adapter.
        most_adapters: of which the oldest is dropped, with an error when it is asked for.
        drops_silently: the oldest is dropped, and the base answers in its place.
        refuses_prompts: 400 for every prompt.
        busy: so many requests are answered with 503.
        slow: seconds that each request takes.
        scale: what adapters are multiplied by.
        modules: kinds of layers that are adapted, and no others.
        shares_prefixes: keys and values of a prompt are computed once, by whoever asks first.
        other_base: by how much its weights are others.
        broken_json: an answer is not what it should be.
        no_paths: layers that are named by their whole paths crash it.
        kind: what it computes in, which is no fault.
    """

    ignores_adapters: bool = False
    keeps_first: bool = False
    no_lora: bool = False
    largest_rank: int = 64
    most_adapters: int = 1000
    drops_silently: bool = False
    refuses_prompts: bool = False
    busy: int = 0
    slow: float = 0.0
    scale: float = 1.0
    modules: tuple[str, ...] = ()
    shares_prefixes: bool = False
    other_base: float = 0.0
    broken_json: bool = False
    no_paths: bool = True
    kind: torch.dtype = torch.float32


class RefusedError(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


#: Path of a layer to its factors, the scale in the second.
Adapter = dict[str, tuple[Tensor, Tensor]]


@dataclass
class Language:
    """The tiny model with the adapters that are loaded."""

    faults: Faults
    model: Any = None
    adapters: dict[str, Adapter] = field(default_factory=dict)
    ever_loaded: dict[str, Adapter] = field(default_factory=dict)
    prefixes: dict[tuple[int, ...], Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of all adapters that were ever asked to be loaded
    active: Adapter | None = None
    cache_name: str = ""

    def __post_init__(self) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(TINY, dtype=self.faults.kind).eval()
        known = inspect.signature(self.model.forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"
        torch.manual_seed(0)
        for path, layer in self.model.named_modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data += self.faults.other_base * torch.randn_like(layer.weight)
                layer.register_forward_hook(self._hook(path))

    def _hook(self, path: str) -> Any:
        def add(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            if self.active is None or path not in self.active:
                return output
            a, b = (factor.to(output.dtype) for factor in self.active[path])
            return output + F.linear(F.linear(inputs[0], a), b) * self.faults.scale

        return add

    def load(self, name: str, folder: str) -> None:
        """Read an adapter's two files."""
        faults = self.faults
        self.names.append(name)
        if faults.no_lora:
            raise RefusedError(400, "LoRA is not enabled. Please set `--enable-lora` to enable LoRA.")
        try:
            config = json.loads((Path(folder) / "adapter_config.json").read_text())
            weights = load_file(Path(folder) / "adapter_model.safetensors")
        except OSError as error:
            raise RefusedError(400, f"cannot read {folder}: {error.strerror}") from error
        if config["r"] > faults.largest_rank:
            raise RefusedError(400, f"LoRA rank {config['r']} is greater than max_lora_rank {faults.largest_rank}.")
        if faults.no_paths and any("." in kind for kind in config["target_modules"]):
            raise RefusedError(500, "Internal Server Error")
        adapter: Adapter = {}
        for key, first in weights.items():
            match = re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", key)
            if match and self._wanted(match[1], config):
                second = weights[key.replace("lora_A", "lora_B")]
                adapter[match[1]] = (first, second * (config["lora_alpha"] / config["r"]))
        if not faults.keeps_first or name not in self.ever_loaded:
            self.ever_loaded[name] = adapter
        self.adapters[name] = self.ever_loaded[name]
        while len(self.adapters) > faults.most_adapters:
            del self.adapters[next(iter(self.adapters))]

    def _wanted(self, path: str, config: dict[str, Any]) -> bool:
        kind = path.rpartition(".")[2]
        blocks = config.get("layers_to_transform")
        block = next(int(part) for part in path.split(".") if part.isdecimal())
        named = kind in config["target_modules"] and kind in (self.faults.modules or (kind,))
        return named and (blocks is None or block in blocks)

    def unload(self, name: str) -> None:
        """Forget an adapter."""
        if self.adapters.pop(name, None) is None:
            raise RefusedError(400, f"LoRA {name} is not loaded.")

    @torch.inference_mode()
    def answer(self, prompt: list[int], name: str | None, most: int, ends: list[int]) -> tuple[list[int], list[float]]:
        """The likeliest tokens, one by one, and their log-probabilities."""
        if self.faults.refuses_prompts:
            raise RefusedError(400, "The input is longer than the model's context length.")
        if name is not None and name not in self.adapters and not self.faults.drops_silently:
            raise RefusedError(404, f"The model `{name}` does not exist.")
        self.active = None if name is None or self.faults.ignores_adapters else self.adapters.get(name)
        found = self.model(input_ids=torch.tensor([prompt]), use_cache=True)
        if self.faults.shares_prefixes:
            found = self.prefixes.setdefault(tuple(prompt), found)
        cache, logits = {self.cache_name: copy.deepcopy(found.past_key_values)}, found.logits[0, -1]
        tokens: list[int] = []
        values: list[float] = []
        while True:
            token = int(logits.argmax())
            tokens.append(token)
            values.append(float(logits.double().log_softmax(0)[token]))
            if token in ends or len(tokens) == most:
                return tokens, values
            logits = self.model(input_ids=torch.tensor([[token]]), **cache).logits[0, -1]


class Handler(BaseHTTPRequestHandler):
    """The routes of both dialects."""

    language: Language
    tokenizer: Any
    lock: threading.Lock

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """What a server says of itself."""
        models = [{"id": "served", "parent": None}] + [{"id": n, "parent": "served"} for n in self.language.adapters]
        known = {
            "/get_server_info": {"version": "0.5.9", "enable_lora": not self.language.faults.no_lora},
            "/version": {"version": "0.19.0"},
            "/v1/models": {"object": "list", "data": models},
        }
        self._reply(200, known[self.path]) if self.path in known else self._reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        """What it is asked to do."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        faults = self.language.faults
        time.sleep(faults.slow)
        if faults.busy > 0:
            faults.busy -= 1
            self._reply(503, {"error": {"message": "Service Unavailable"}})
            return
        routes = {
            "/load_lora_adapter": self._load, "/unload_lora_adapter": self._unload, "/generate": self._generate,
            "/v1/load_lora_adapter": self._load, "/v1/unload_lora_adapter": self._unload,
            "/v1/completions": self._complete,
        }  # fmt: skip
        try:
            with self.lock:
                self._reply(200, routes[self.path](body))
        except RefusedError as error:
            if self.path.startswith("/v1"):
                self._reply(error.status, {"error": {"message": str(error), "code": error.status}})
            else:
                self._reply(400, {"success": False, "error_message": str(error)})

    def _load(self, body: dict[str, Any]) -> Any:
        self.language.load(body["lora_name"], body["lora_path"])
        if self.path.startswith("/v1"):
            return f"Success: LoRA adapter '{body['lora_name']}' added successfully."
        return {"success": True, "loaded_adapters": dict.fromkeys(self.language.adapters, "somewhere")}

    def _unload(self, body: dict[str, Any]) -> Any:
        self.language.unload(body["lora_name"])
        return "Success." if self.path.startswith("/v1") else {"success": True}

    def _generate(self, body: dict[str, Any]) -> Any:
        settings = body["sampling_params"]
        assert settings["temperature"] == 0
        names = body.get("lora_path") or [None] * len(body["input_ids"])
        found = []
        for prompt, name in zip(body["input_ids"], names, strict=True):
            tokens, values = self.language.answer(prompt, name, settings["max_new_tokens"], settings["stop_token_ids"])
            meta: dict[str, Any] = {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}
            if body.get("return_logprob"):
                meta["output_token_logprobs"] = [[one, token, None] for one, token in zip(values, tokens, strict=True)]
            found.append({"text": self.tokenizer.decode(tokens, skip_special_tokens=True), "meta_info": meta})
        return {"answers": found} if self.language.faults.broken_json else found

    def _complete(self, body: dict[str, Any]) -> Any:
        assert body["temperature"] == 0
        name = None if body["model"] == "served" else body["model"]
        choices, count = [], 0
        for place, prompt in enumerate(body["prompt"]):
            tokens, values = self.language.answer(prompt, name, body["max_tokens"], body["stop_token_ids"])
            count += len(tokens)
            logs = {"tokens": [f"token_id:{token}" for token in tokens], "token_logprobs": values}
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            choices.append({"index": place, "text": text, "logprobs": logs if body.get("logprobs") else None})
        if self.language.faults.broken_json:
            return {"object": "text_completion", "model": body["model"]}
        usage = {"completion_tokens": count}
        return {"object": "text_completion", "model": body["model"], "choices": choices[::-1], "usage": usage}

    def _reply(self, status: int, content: Any) -> None:
        text = isinstance(content, str)
        data = (content if text else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def served(**faults: Any) -> Iterator[tuple[str, Language]]:
    """The URL of a server that runs in a thread of this process, and what it serves."""
    from transformers import AutoTokenizer

    language = Language(Faults(**faults))
    inside = {"language": language, "tokenizer": AutoTokenizer.from_pretrained(TINY), "lock": threading.Lock()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Handler,), inside))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", language
    finally:
        server.shutdown()
        server.server_close()
