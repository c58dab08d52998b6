"""Servers that speak as SGLang and vLLM do: the answers are those of this process, and no fault goes unseen."""

from __future__ import annotations

import errno
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from galab.errors import GalabError, ServerError, UsageError
from galab.evaluation import server_generator
from galab.evaluation.answer_servers import KEY, SERVERS, AnswerServer, Reply
from galab.evaluation.batched.low_rank import Stack, low_rank
from galab.evaluation.generators import Texts, TransformersGenerator
from galab.evaluation.server_generator import ServerGenerator

pytest.importorskip("transformers")

from language_server import Handler, served

from galab.models.language_model import LanguageModel

PROMPTS = ["3+5=", "what is 2+2="]
DIALECTS = sorted(SERVERS)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(adapt="lora", lora_rank=2, layers_adapted="1", sigma_relative=True)


def prompts_of(model: LanguageModel) -> list[list[int]]:
    return [model.base.tokens(prompt) for prompt in PROMPTS]


def members(model: LanguageModel, count: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(2)
    named = {name: value.detach() for name, value in model.named_parameters()}
    return {name: value + 0.7 * torch.randn(count, *value.shape) for name, value in named.items()}


def told(model: LanguageModel, dialect: str, url: str, *, patience: float = 0.3, **options: Any) -> Texts:
    generator = ServerGenerator(model, SERVERS[dialect](url, patience=patience), 12, **options)
    generator.check(prompts_of(model))
    return generator.texts(members(model), prompts_of(model))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers_are_those_of_this_process(model: LanguageModel, dialect: str) -> None:
    expected = TransformersGenerator(model, 12).texts(members(model), prompts_of(model))
    assert len({text for own in expected.texts for text in own}) > 4  # they differ, or equality would say little
    with served() as (url, language):
        assert told(model, dialect, url) == expected
        assert language.adapters == {}, "all are unloaded"
        assert len(set(language.names)) == len(language.names) == 3 + 2 + 4, "no name is used twice"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_members_of_low_rank_are_written_whole(model: LanguageModel, dialect: str) -> None:
    torch.manual_seed(3)
    pairs = dict[str, Stack]()
    for name, value in model.named_parameters():
        a, b = (torch.randn(2, length, 1) for length in value.shape)
        pairs[name] = low_rank(value.detach(), a, b, 0.7, antithetic=True)
    expected = TransformersGenerator(model, 12).texts(pairs, prompts_of(model))
    with served() as (url, _):
        found = ServerGenerator(model, SERVERS[dialect](url), 12).texts(pairs, prompts_of(model))
    assert found.texts == expected.texts


#: What is wrong with a server, and what is said of it.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "ignores adapters": ({"ignores_adapters": True}, "answers as if it had none: start it with LoRA enabled"),
    "has no LoRA": ({"no_lora": True}, "LoRA is not enabled.*has to allow LoRA, rank [28] and 3 adapters"),
    "rank": ({"largest_rank": 1}, r"LoRA rank [28] is greater than max_lora_rank 1.*rank [28] and 3 adapters"),
    "another base": ({"other_base": 0.05}, "to serve 'tiny', got answers whose log-probabilities are .* start it with"),
    "half the scale": ({"scale": 0.5}, "nats from those that belong to it"),
    "twice the scale": ({"scale": 2.0}, "nats from those that belong to it"),
    "the other sign": ({"scale": -1.0}, "nats from those that belong to it"),
    "some kinds of layers": ({"modules": ("q_proj", "v_proj")}, "let it adapt all of --layers"),
    "prefixes of others": ({"shares_prefixes": True}, "--disable-radix-cache"),
    "refuses": ({"refuses_prompts": True}, "to answer prompts, got status 400, The input is longer"),
    "other JSON": ({"broken_json": True}, "no list of 2 answers|an answer without 'choices'"),
    "few adapters": ({"most_adapters": 3}, "does not exist"),
    "few adapters, silent": ({"most_adapters": 4, "drops_silently": True}, "has dropped some"),
    "busy": ({"busy": 1000}, "status 503, Service Unavailable"),
}


#: What depends on the dialect; the others are tried with one.
BOTH = ("ignores adapters", "rank", "other JSON", "few adapters")


@pytest.mark.parametrize(
    ("fault", "dialect"), [(fault, one) for fault in WRONG for one in (DIALECTS if fault in BOTH else ["sglang"])]
)
def test_a_fault_is_told_in_one_sentence(model: LanguageModel, fault: str, dialect: str) -> None:
    faults, sentence = WRONG[fault]
    with served(**faults) as (url, _), pytest.raises(ServerError, match=sentence) as caught:
        told(model, dialect, url)
    assert str(caught.value).startswith(f"expected the server of {dialect} at http://127.0.0.1:")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("dialect", ["sglang"])
def test_a_server_may_compute_in_bfloat16(model: LanguageModel, dialect: str) -> None:
    with served(kind=torch.bfloat16) as (url, _):
        assert told(model, dialect, url).tokens > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_passes_by_itself_is_waited_for(model: LanguageModel, dialect: str) -> None:
    with served(busy=2, slow=0.01) as (url, _):
        assert told(model, dialect, url, patience=5).tokens > 0


@pytest.mark.parametrize("dialect", ["vllm"])
def test_an_adapter_that_was_lost_meanwhile_is_loaded_again(model: LanguageModel, dialect: str) -> None:
    with served() as (url, language):
        generator = ServerGenerator(model, SERVERS[dialect](url), 12)
        expected = generator.texts(members(model), prompts_of(model))
        load, lost = language.load, []

        def forgetful(name: str, folder: str) -> None:
            load(name, folder)
            if not lost:  # as if the server had been restarted
                lost.append(language.adapters.pop(name))

        language.load = forgetful  # type: ignore[method-assign]
        assert generator.texts(members(model), prompts_of(model)) == expected
        assert lost


@pytest.mark.parametrize("dialect", ["sglang"])
def test_a_client_that_used_names_again_would_be_caught(
    model: LanguageModel, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of old versions keeps the first adapter of a name; new names make it harmless, old ones are found."""
    with served(keeps_first=True) as (url, _):
        told(model, dialect, url)
    names = iter([*"xyz", *"abcdef", *"abcdef"])  # as where each generation has the names of the one before
    monkeypatch.setattr(ServerGenerator, "_new_name", lambda self: next(names))
    with served(keeps_first=True) as (url, _):
        generator = ServerGenerator(model, SERVERS[dialect](url), 12)
        generator.texts(members(model), prompts_of(model))
        with pytest.raises(ServerError, match="or kept old ones: let it hold 6 at once"):
            generator.texts(members(model), prompts_of(model))


@pytest.mark.parametrize("dialect", ["vllm"])
def test_an_answer_that_repeats_its_prompt_is_refused(
    model: LanguageModel, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the reward would count the prompt."""

    class Echo:
        def __init__(self, tokenizer: Any) -> None:
            self._tokenizer = tokenizer

        def decode(self, tokens: list[int], **options: Any) -> str:
            return "3+5=" + str(self._tokenizer.decode(tokens, **options))

    plain = Handler.__getattribute__
    monkeypatch.setattr(
        Handler, "__getattribute__",
        lambda self, name: Echo(plain(self, name)) if name == "tokenizer" else plain(self, name),
    )  # fmt: skip
    with served() as (url, _), pytest.raises(ServerError, match="to return the answer alone, got '3"):
        told(model, dialect, url)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_where_no_server_is_the_sentence_says_how_to_start_one(model: LanguageModel, dialect: str) -> None:
    with pytest.raises(ServerError, match="no answer .*; start one with '.*enable-lora.*', or name another one"):
        told(model, dialect, "http://127.0.0.1:9")


def test_a_server_that_dies_at_work_is_asked_again_for_one_patience_alone(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not once more for each adapter that it should forget."""
    asked = list[str]()
    plain = AnswerServer._once

    def once(self: AnswerServer, path: str, body: Any) -> Any:
        asked.append(path)
        if (path == "/generate" and len(body["input_ids"]) > 6) or (len(asked) > 1 and asked[-2] == "gone"):
            asked.append("gone")
            raise ConnectionRefusedError("refused")
        return plain(self, path, body)

    with served() as (url, _):
        generator = ServerGenerator(model, SERVERS["sglang"](url, patience=0.3), 12)
        generator.check(prompts_of(model))
        monkeypatch.setattr(AnswerServer, "_once", once)
        with pytest.raises(ServerError, match="no answer"):
            generator.texts(members(model), prompts_of(model))
    assert asked.count("/generate") == 2
    assert asked.count("/unload_lora_adapter") == 1


@pytest.mark.parametrize(("token", "value"), [(3, float("nan")), (100_000, -0.1)])
def test_numbers_that_no_sound_server_gives_are_refused(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, token: int, value: float
) -> None:
    reply = Reply("t", 1, [token], [value])
    with served() as (url, _):
        server = SERVERS["sglang"](url)
        monkeypatch.setattr(server, "replies", lambda requests, *rest, **more: [reply] * len(requests))
        with pytest.raises(ServerError, match="to serve 'tiny'.*start it with the same model"):
            ServerGenerator(model, server, 12).check(prompts_of(model))


def test_a_generator_keeps_no_module_alive() -> None:
    module = LanguageModel(adapt="lora")
    generator, gone = ServerGenerator(module, SERVERS["sglang"](), 12), weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None
    assert generator


def test_a_key_is_sent(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[str | None]()
    plain = Handler.do_GET
    monkeypatch.setattr(Handler, "do_GET", lambda self: (seen.append(self.headers["Authorization"]), plain(self))[1])
    with served() as (url, _):
        SERVERS["vllm"](url).version()
        monkeypatch.setenv(KEY, "secret")
        assert SERVERS["vllm"](url).version() == "0.19.0"
    assert seen == [None, "Bearer secret"]


def test_a_member_that_is_not_finite_is_broken_and_not_asked(model: LanguageModel) -> None:
    weights = members(model)
    next(iter(weights.values()))[1, 0, 0] = torch.nan
    with served() as (url, language):
        found = ServerGenerator(model, SERVERS["sglang"](url), 12).texts(weights, prompts_of(model))
        assert len(language.names) == 3 + 2 + 3
    assert found.broken == {1}
    assert all(found.texts[place] != ["", ""] for place in (0, 2, 3))


def test_no_room_for_adapters_is_told(model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with served() as (url, _):
        with pytest.raises(GalabError, match="got No such file or directory; name another folder"):
            told(model, "sglang", url, folder=str(tmp_path / "absent"))
        monkeypatch.setattr(server_generator, "process_folder", full)
        with pytest.raises(GalabError, match="expected to write adapters .* got No space left on device; name another"):
            told(model, "sglang", url)


def test_adapters_lie_in_the_folder_that_is_named_and_are_deleted(model: LanguageModel, tmp_path: Path) -> None:
    with served() as (url, language):
        seen = list[bool]()
        load = language.load

        def noted(name: str, folder: str) -> None:
            seen.append(Path(folder).is_relative_to(tmp_path))
            load(name, folder)

        language.load = noted  # type: ignore[method-assign]
        told(model, "vllm", url, folder=str(tmp_path))
    assert seen == [True] * 9
    assert not list(tmp_path.glob("galab-adapters-*"))


def test_what_servers_cannot_load_is_refused() -> None:
    with pytest.raises(UsageError, match="expected --adapt lora with --generator sglang, got full"):
        ServerGenerator(LanguageModel(), SERVERS["sglang"](), 12)
    odd = LanguageModel(adapt="lora", layers_adapted="*0.self_attn.q_proj,*1.self_attn.v_proj")
    with pytest.raises(UsageError, match="expected --layers of whole kinds in whole blocks with --generator vllm"):
        ServerGenerator(odd, SERVERS["vllm"](), 12)
