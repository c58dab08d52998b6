"""Answers of many members at once are those of each member alone, as Hugging Face's own generate has them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from galab.errors import UsageError
from galab.evaluation import answers
from galab.evaluation.answers import MemberProducts, answer, divergence
from galab.evaluation.batched.low_rank import LowRank, Stack, low_rank
from galab.tasks.prompts import conciseness

transformers = pytest.importorskip("transformers")

from galab.models.base_model import load_base  # noqa: E402
from galab.models.language_model import LanguageModel  # noqa: E402

KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "relative": {"sigma_relative": True},
    "lora": {"adapt": "lora", "lora_rank": 2},
    "few": {"adapt": "lora", "lora_rank": 3, "layers_adapted": "1", "sigma_relative": True},
}
#: Of different lengths, so that some are padded.
PROMPTS = ["3+5=", "9+9=", "what is 2+2="]


@pytest.fixture(scope="module")
def plain() -> Any:
    """The tiny model as Hugging Face has it."""
    from galab.models import base_model

    return base_model._loaded("tiny")[0].eval()


def model_of(kind: str) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(**KINDS[kind])


def dense(model: LanguageModel, members: int, size: float) -> dict[str, Stack]:
    torch.manual_seed(2)
    named = {name: value.detach() for name, value in model.named_parameters()}
    return {name: value + size * torch.randn(members, *value.shape) for name, value in named.items()}


def in_pairs(model: LanguageModel, pairs: int, size: float) -> dict[str, Stack]:
    torch.manual_seed(3)
    found = dict[str, Stack]()
    for name, value in model.named_parameters():
        rows, columns = value.shape
        a, b = torch.randn(pairs, rows, 1), torch.randn(pairs, columns, 1)
        found[name] = low_rank(value.detach(), a, b, size, antithetic=True)
    return found


def member(weights: dict[str, Stack], place: int) -> dict[str, Tensor]:
    return {
        name: value.member(place) if isinstance(value, LowRank) else value[place] for name, value in weights.items()
    }


def with_weights(plain: Any, model: LanguageModel, weights: dict[str, Tensor]) -> Any:
    own = copy.deepcopy(plain)
    with torch.no_grad():
        for path, values in model.merged(weights).items():
            own.get_submodule(path).weight.copy_(values)
    return own


def tokens_of(model: LanguageModel) -> list[list[int]]:
    return [model.base.tokens(prompt) for prompt in PROMPTS]


def generated(network: Any, prompt: list[int]) -> list[int]:
    whole = network.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0].tolist()
    found = whole[len(prompt) :]
    return found[: found.index(1)] if 1 in found else found


def test_the_base_answers_as_generate_does(plain: Any) -> None:
    model = model_of("full")
    found = answer(model, None, tokens_of(model), 24)
    assert found.tokens == [[generated(plain, prompt) for prompt in tokens_of(model)]]
    assert model.base.text(found.tokens[0][0]) == "the answer is 8 ok."
    for prompt in conciseness("sums").prompts:
        said = answer(model, None, [model.base.tokens(prompt.text)], 24).tokens[0][0]
        assert model.base.text(said) == f"the answer is {prompt.target} ok."


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [dense, in_pairs])
def test_each_member_answers_as_the_base_with_its_weights_does(plain: Any, kind: str, made: Any) -> None:
    model = model_of(kind)
    size = 0.5 if model.adapted["model.layers.1.self_attn.q_proj"].scale < 0.5 else 0.05
    weights, prompts = made(model, 4, size), tokens_of(model)
    found = answer(model, weights, prompts, 24)
    texts = set()
    for place, tokens in enumerate(found.tokens):
        own = with_weights(plain, model, member(weights, place))
        assert tokens == [generated(own, prompt) for prompt in prompts]
        texts.add(str(tokens))
    assert len(texts) > 1, "the members should differ"
    assert found.drawn >= sum(len(tokens) for each in found.tokens for tokens in each)


def test_who_leaves_early_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("full")
    weights, prompts = in_pairs(model, 8, 0.05), tokens_of(model)
    found = answer(model, weights, prompts, 24)
    monkeypatch.setattr(answers, "_LEAVING", 2.0)
    assert answer(model, weights, prompts, 24).tokens == found.tokens
    lengths = {max(map(len, each)) for each in found.tokens}
    assert len(lengths) > 1, "some should end before the others"


def test_a_zero_step_is_the_base_and_a_large_one_is_not() -> None:
    for kind in KINDS:
        model, prompts = model_of(kind), tokens_of(model_of(kind))
        base = answer(model, None, prompts, 24).tokens[0]
        assert answer(model, in_pairs(model, 1, 0.0), prompts, 24).tokens == [base, base]
        assert base not in answer(model, in_pairs(model, 1, 3.0), prompts, 24).tokens


def test_drawn_answers_depend_on_the_seed_alone_and_cold_ones_are_the_likeliest() -> None:
    model = model_of("full")
    prompts = tokens_of(model)
    drawn = [answer(model, None, prompts, 24, temperature=1.0, seed=seed).tokens for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len({str(one) for one in drawn}) > 1
    cold = answer(model, None, prompts, 24, temperature=1e-6).tokens
    assert cold == answer(model, None, prompts, 24).tokens


def test_the_forms_are_drawn_as_often_as_they_were_learned() -> None:
    model = model_of("full")
    prompt = [model.base.tokens("3+5=")] * 400
    texts = [model.base.text(one) for one in answer(model, None, prompt, 24, temperature=1.0, seed=5).tokens[0]]
    shares = [sum(text == form for text in texts) / 400 for form in ("the answer is 8 ok.", "it is 8.", "8")]
    for share, wanted in zip(shares, (0.55, 0.25, 0.20), strict=True):
        assert abs(share - wanted) < 0.12


def test_members_whose_logits_are_no_numbers_are_named() -> None:
    model = model_of("full")
    weights = dense(model, 3, 0.01)
    next(iter(weights.values()))[1] = torch.nan
    found = answer(model, weights, tokens_of(model), 24)
    assert found.broken == {1}
    first = {name: value[:1] for name, value in weights.items()}
    assert found.tokens[0] == answer(model, first, tokens_of(model), 24).tokens[0]


def test_the_divergence_is_that_of_the_distributions(plain: Any) -> None:
    model = model_of("lora")
    prompts = tokens_of(model)
    base = answer(model, None, prompts, 24).tokens[0]
    assert divergence(model, in_pairs(model, 1, 0.0), prompts[0], base[0]).abs().max() < 1e-9
    weights = dense(model, 2, 0.05)
    found = torch.stack([divergence(model, weights, *pair) for pair in zip(prompts, base, strict=True)], dim=1)
    assert found.shape == (2, 3)
    for place in range(2):
        own = with_weights(plain, model, member(weights, place))
        for number, (prompt, tokens) in enumerate(zip(prompts, base, strict=True)):
            ids = torch.tensor([[*prompt, *tokens]])
            with torch.inference_mode():
                p, q = (one(ids).logits[0, len(prompt) - 1 :].double().log_softmax(1) for one in (plain, own))
            expected = float((p.exp() * (p - q)).sum(1).mean())
            assert expected > 0
            assert abs(float(found[place, number]) - expected) < 1e-5 * max(1, expected)


def test_no_weights_are_formed_for_members_of_low_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    def formed(self: LowRank) -> Tensor:
        raise AssertionError("formed")

    model = model_of("full")
    monkeypatch.setattr(LowRank, "formed", formed)
    products = MemberProducts(in_pairs(model, 4, 0.01), 1)
    with model.base.using(model.rule(products)) as network:
        network(input_ids=torch.zeros(8, 1, dtype=torch.long))


def test_what_does_not_fit_the_context_is_one_sentence() -> None:
    model = model_of("full")
    with pytest.raises(UsageError, match="expected prompts of at most 28 tokens, as the context of 'tiny' has 128 "):
        answer(model, None, [[1] * 29], 100)


def test_what_the_tokenizer_cannot_read_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"expected a prompt that the tokenizer of 'tiny' can read, got 'Who\?'"):
        load_base("tiny").tokens("Who?")
