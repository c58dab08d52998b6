"""Servers that answer prompts with adapters, over HTTP: SGLang and vLLM. Neither is imported.

What a server says is checked for its form here. Whether it does as it was told is checked in
:mod:`galab.evaluation.server_generator`: a server may answer 200 and have used no adapter at all.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from galab.errors import ServerError

#: Where a key stands that a server may ask for.
KEY = "GALAB_SERVER_KEY"
#: What a server that is busy, or starts, answers.
_LATER = (429, 502, 503, 504)
_MOST_BYTES = 1 << 28
#: Seconds that a server may take for an answer: it may compute many.
_SECONDS = 3600.0
#: Requests to vLLM at once; it makes batches of them.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt for a server.

    Attributes:
        prompt: its tokens.
        adapter: name of a loaded one; None for the base.
    """

    prompt: Sequence[int]
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    Attributes:
        text: of the answer.
        count: its tokens, with the one that ends it.
        tokens: the tokens themselves, if their log-probabilities were asked for.
        log_probabilities: of each of them, in nats.
    """

    text: str
    count: int
    tokens: list[int]
    log_probabilities: list[float]


class AnswerServer(ABC):
    """A server that speaks a dialect.

    Args:
        url: such as ``http://127.0.0.1:30000``.
        patience: seconds for which a server that is busy, or gone, is asked again.
    """

    name: ClassVar[str]
    default_url: ClassVar[str]
    #: How a user starts one.
    how_to_start: ClassVar[str]
    #: Ranks of adapters are filled up to multiples of this.
    rank_step: ClassVar[int] = 1

    def __init__(self, url: str | None = None, patience: float = 120.0) -> None:
        self.url = (url or self.default_url).rstrip("/")
        self._patience = patience
        # Straight to the server, past any proxy of the environment, which would not find 127.0.0.1.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @abstractmethod
    def version(self) -> str:
        """Of the server's program; asks it once, so that a server that is not there is said at once."""

    @abstractmethod
    def load(self, adapter: str, folder: str) -> None:
        """Make an adapter known.

        Args:
            adapter: its name, which must be a new one.
            folder: as the server sees it.

        Raises:
            ServerError: the server refuses.
        """

    @abstractmethod
    def unload(self, adapter: str) -> None:
        """Forget an adapter; asked once.

        Raises:
            ServerError: the server refuses, or is gone.
        """

    @abstractmethod
    def replies(
        self, requests: Sequence[Request], most: int, ends: Sequence[int], *, log_probabilities: bool = False
    ) -> list[Reply]:
        """The likeliest answers, in the order of the requests.

        Args:
            requests: prompts, each with its adapter.
            most: tokens of an answer at most.
            ends: tokens after which an answer is over.
            log_probabilities: whether to ask for tokens and their log-probabilities.

        Raises:
            ServerError: the server refuses, or says something else than it should.
        """

    def refused(self, what: str, reason: str) -> ServerError:
        """The sentence for something that the server does not do."""
        return ServerError(f"expected the server of {self.name} at {self.url} to {what}, got {reason:.300}")

    def said(self, answer: Any, what: str, *keys: str | int) -> Any:
        """A value inside an answer.

        Raises:
            ServerError: it is not there.
        """
        for key in keys:
            try:
                answer = answer[key]
            except (KeyError, IndexError, TypeError) as error:
                raise self.refused(what, f"an answer without '{key}': {json.dumps(answer)}") from error
        return answer

    def ask(self, what: str, path: str, body: Any = None, *, again: bool = True) -> Any:
        """Ask, and ask again for a while where the server is busy or gone.

        Args:
            what: it shall do, for sentences.
            path: below the URL.
            body: plain data to post; a get without.
            again: whether to ask again.

        Returns:
            Plain data, or the text where it is no JSON.

        Raises:
            ServerError: see :meth:`refused`; with the hint to start a server where none answered.
        """
        end, wait = time.monotonic() + (self._patience if again else 0.0), 0.25
        while True:
            try:
                return self._once(path, body)
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}, {_message(error)}"
                if error.code not in _LATER or time.monotonic() + wait > end:
                    raise self.refused(what, reason) from error
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                slow = isinstance(error, TimeoutError)
                if slow or time.monotonic() + wait > end:
                    reason = str(getattr(error, "reason", None) or error)
                    advice = f"start one with '{self.how_to_start}', or name another one with --server"
                    if slow:
                        reason, advice = f"within {_SECONDS:g} seconds", "ask for less at once with --chunk"
                    gone = self.refused(what, f"no answer ({reason}); {advice}, and resume the run if it had begun")
                    gone.answered = False
                    raise gone from error
            time.sleep(wait)
            wait = min(2 * wait, 5.0)

    def _once(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if KEY in os.environ:
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        with self._opener.open(request, timeout=_SECONDS) as answer:
            content = answer.read(_MOST_BYTES).decode("utf-8", "replace")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return content


def _message(error: urllib.error.HTTPError) -> str:
    """What a refusal says, by whatever name the server calls it."""
    try:
        content = error.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return str(error.reason)
    try:
        found = json.loads(content)
    except ValueError:
        return content.strip() or str(error.reason)
    for name in ("error_message", "message", "detail", "error"):
        inner = found.get(name) if isinstance(found, dict) else None
        if inner:
            return str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    return content


class SGLang(AnswerServer):
    """SGLang's native routes: one request for all prompts, with ``lora_path`` for each."""

    name = "sglang"
    default_url = "http://127.0.0.1:30000"
    how_to_start = "python -m sglang.launch_server --model-path BASE --enable-lora --disable-radix-cache ..."

    def version(self) -> str:
        """See :meth:`AnswerServer.version`."""
        found = self.ask("say what it is", "/get_server_info", again=False)
        return str(found["version"]) if isinstance(found, dict) and "version" in found else "of an unknown version"

    def load(self, adapter: str, folder: str) -> None:
        """See :meth:`AnswerServer.load`."""
        what = f"load an adapter from '{folder}'"
        found = self.ask(what, "/load_lora_adapter", {"lora_name": adapter, "lora_path": folder})
        if self.said(found, what, "success") is not True:
            raise self.refused(what, str(found.get("error_message") or found))

    def unload(self, adapter: str) -> None:
        """See :meth:`AnswerServer.unload`."""
        self.ask("unload an adapter", "/unload_lora_adapter", {"lora_name": adapter}, again=False)

    def replies(
        self, requests: Sequence[Request], most: int, ends: Sequence[int], *, log_probabilities: bool = False
    ) -> list[Reply]:
        """See :meth:`AnswerServer.replies`."""
        what = "answer prompts"
        found = self.ask(what, "/generate", {
            "input_ids": [list(request.prompt) for request in requests],
            "lora_path": [request.adapter for request in requests],
            # Spelt out, as a server may take what is left out from the model's own settings.
            "sampling_params": {
                "max_new_tokens": most, "temperature": 0, "stop_token_ids": list(ends), "skip_special_tokens": True,
                "repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            },
            "return_logprob": log_probabilities,
        })  # fmt: skip
        if not isinstance(found, list) or len(found) != len(requests):
            raise self.refused(what, f"no list of {len(requests)} answers: {json.dumps(found)}")
        return [self._reply(one, what, log_probabilities) for one in found]

    def _reply(self, found: Any, what: str, log_probabilities: bool) -> Reply:
        text, count = (self.said(found, what, *keys) for keys in (("text",), ("meta_info", "completion_tokens")))
        rows = self.said(found, what, "meta_info", "output_token_logprobs") if log_probabilities else []
        tokens, values = ([self.said(row, what, place) for row in rows] for place in (1, 0))
        return Reply(str(text), int(count), [int(token) for token in tokens], [float(value) for value in values])


class VLLM(AnswerServer):
    """vLLM's completions: an adapter is named as the model, so each has a request of its own."""

    name = "vllm"
    default_url = "http://127.0.0.1:8000"
    how_to_start = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank 8 ..."
    rank_step = 8

    def __init__(self, url: str | None = None, patience: float = 120.0) -> None:
        super().__init__(url, patience)
        self._base: str | None = None

    def version(self) -> str:
        """See :meth:`AnswerServer.version`."""
        return str(self.said(self.ask("say what it is", "/version", again=False), "say what it is", "version"))

    def load(self, adapter: str, folder: str) -> None:
        """See :meth:`AnswerServer.load`. The answer is plain text."""
        body = {"lora_name": adapter, "lora_path": folder}
        self.ask(f"load an adapter from '{folder}'", "/v1/load_lora_adapter", body)

    def unload(self, adapter: str) -> None:
        """See :meth:`AnswerServer.unload`."""
        self.ask("unload an adapter", "/v1/unload_lora_adapter", {"lora_name": adapter}, again=False)

    def replies(
        self, requests: Sequence[Request], most: int, ends: Sequence[int], *, log_probabilities: bool = False
    ) -> list[Reply]:
        """See :meth:`AnswerServer.replies`."""
        places: dict[str | None, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(request.adapter, []).append(place)
        settings = {
            "max_tokens": most, "temperature": 0, "stop_token_ids": list(ends), "skip_special_tokens": True,
            "repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            **({"logprobs": 1, "return_tokens_as_token_ids": True} if log_probabilities else {}),
        }  # fmt: skip

        def completed(adapter: str | None) -> list[Reply]:
            prompts = [list(requests[place].prompt) for place in places[adapter]]
            return self._completed(adapter or self._base_name(), prompts, settings)

        with ThreadPoolExecutor(min(_AT_ONCE, len(places))) as pool:
            found = dict(zip(places, pool.map(completed, places), strict=True))
        by_place = {place: one for name in places for place, one in zip(places[name], found[name], strict=True)}
        return [by_place[place] for place in range(len(requests))]

    def _completed(self, model: str, prompts: list[list[int]], settings: dict[str, Any]) -> list[Reply]:
        what = "answer prompts"
        found = self.ask(what, "/v1/completions", {"model": model, "prompt": prompts, **settings})
        told = self.said(found, what, "model")
        if told != model:
            raise self.refused(f"answer by '{model}'", f"an answer by '{told}'")
        choices = self.said(found, what, "choices")
        if not isinstance(choices, list) or len(choices) != len(prompts):
            raise self.refused(what, f"no list of {len(prompts)} answers: {json.dumps(found)}")
        ordered = sorted(choices, key=lambda one: int(self.said(one, what, "index")))
        count = int(self.said(found, what, "usage", "completion_tokens"))
        shares = [count // len(ordered) + (place < count % len(ordered)) for place in range(len(ordered))]
        return [self._reply(one, what, share) for one, share in zip(ordered, shares, strict=True)]

    def _reply(self, choice: Any, what: str, count: int) -> Reply:
        text, told = str(self.said(choice, what, "text")), choice.get("logprobs")
        if not told:
            return Reply(text, count, [], [])
        tokens = [int(str(name).rpartition(":")[2]) for name in self.said(told, what, "tokens")]
        return Reply(text, count, tokens, [float(value) for value in self.said(told, what, "token_logprobs")])

    def _base_name(self) -> str:
        """What the server calls the base: the model that is no adapter of another one."""
        if self._base is None:
            models = self.said(self.ask("list its models", "/v1/models"), "list its models", "data")
            found = [str(self.said(one, "list its models", "id")) for one in models if not one.get("parent")]
            if not found:
                raise self.refused("list its models", "none that is no adapter")
            self._base = found[0]
        return self._base


#: By the names of ``--generator``.
SERVERS: dict[str, type[AnswerServer]] = {one.name: one for one in (SGLang, VLLM)}
