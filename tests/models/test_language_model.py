"""A language model around a base: which layers are evolved, and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from galab.errors import UsageError
from galab.models import base_model
from galab.models.base_model import BaseModel, load_base
from galab.models.language_model import LanguageModel

#: Of the weights that ship with galab.
TINY_DIGEST = "572234e9e284ab31"


def test_without_transformers_there_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError) as caught:
        BaseModel("tiny")
    assert str(caught.value) == (
        "expected transformers and safetensors for --model llm, found no transformers; install them with: pip install "
        "'galab[llm]'"
    )


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


def test_the_base_is_loaded_once_and_is_no_part_of_the_network(transformers: Any) -> None:
    one, other = LanguageModel(), LanguageModel()
    assert one.base is other.base is load_base("tiny")
    names = {name for name, _ in one.named_parameters()}
    assert len(names) == 14
    assert "model.layers.1.mlp.down_proj.weight" in names
    assert sum(value.numel() for value in one.parameters()) == 94_208
    assert bytes(one.base_digest.numpy()).hex() == one.base.digest


def test_the_file_of_the_tiny_model_is_the_one_that_was_measured(transformers: Any) -> None:
    assert load_base("tiny").digest.startswith(TINY_DIGEST)
    folder = Path(base_model.__file__).parent / "tiny_language_model"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 210_000


@pytest.mark.parametrize(
    ("layers", "count"),
    [(None, 14), ("0", 7), ("0-1", 14), ("*q_proj,*v_proj", 4), ("1,*.0.mlp.up_proj", 8)],
)
def test_layers_are_named_by_block_or_by_pattern(transformers: Any, layers: str | None, count: int) -> None:
    assert len(load_base("tiny").chosen(layers)) == count


@pytest.mark.parametrize("layers", ["2", "0-1,7", "lm_head", "x"])
def test_layers_that_are_not_there_are_refused(transformers: Any, layers: str) -> None:
    with pytest.raises(UsageError, match="expected --layers to name blocks or linear layers of 'tiny', got '"):
        load_base("tiny").chosen(layers)


def test_a_rank_above_the_smaller_side_is_refused(transformers: Any) -> None:
    with pytest.raises(UsageError, match="expected --lora-rank at most 64, the smaller side of 'model.layers.0"):
        LanguageModel(adapt="lora", lora_rank=65)


def test_a_step_means_the_same_in_every_way_to_adapt(transformers: Any) -> None:
    """The root mean square of what a step of 0.01 changes in a layer is 0.01, or 0.01 of that of its weights."""
    for adapt in ("full", "lora"):
        for relative in (False, True):
            torch.manual_seed(1)
            model = LanguageModel(adapt=adapt, lora_rank=4, sigma_relative=relative)
            named = {name: value.detach() for name, value in model.named_parameters()}
            moved = {name: value + 0.01 * torch.randn_like(value) for name, value in named.items()}
            path = "model.layers.1.mlp.down_proj"
            unit = float(model.base.linear[path].weight.square().mean().sqrt()) if relative else 1.0
            change = model.merged(moved)[path] - model.base.linear[path].weight
            size = float(change.square().mean().sqrt())
            assert abs(size / (0.01 * unit) - 1) < 0.1


def test_new_weights_leave_the_base_as_it_was(transformers: Any) -> None:
    before = {name: value.clone() for name, value in load_base("tiny").own_weights().items()}
    for adapt in ("full", "lora"):
        model = LanguageModel(adapt=adapt)
        with torch.no_grad():
            for value in model.parameters():
                value += 1.0
    after = load_base("tiny").own_weights()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_an_adapter_begins_as_the_base(transformers: Any) -> None:
    tokens = torch.tensor([[7, 30, 8, 31]])
    full, lora = LanguageModel()(tokens), LanguageModel(adapt="lora")(tokens)
    assert torch.equal(full, lora)
    assert full.shape == (1, 43)


def test_what_is_no_language_model_is_one_sentence(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a causal language model as 'llm\(base=.*\)': tiny, smollm2, a"):
        BaseModel(str(tmp_path))


def test_layers_that_keep_their_weights_the_other_way_round_are_refused(transformers: Any, tmp_path: Path) -> None:
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, n_positions=16, vocab_size=43, eos_token_id=1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    base_model._loaded("tiny")[1].save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="expected linear layers, got Conv1D at 'transformer.h.0.attn.c_attn', which"):
        BaseModel(str(tmp_path))


def test_a_base_without_a_chat_template_is_asked_as_it_is_and_says_so(
    transformers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(Path(base_model.__file__).parent / "tiny_language_model", folder)
    base = BaseModel(str(folder))
    assert f"base '{folder}' has no chat template, so it is asked prompts as they are, without one" in caplog.text
    plain = base.tokens("3+5=")
    base.tokenizer.chat_template = "{% for one in messages %}what is {{ one.content }}{% endfor %}"
    assert base.tokens("3+5=") == [*base.tokenizer.encode("what is "), *plain]
