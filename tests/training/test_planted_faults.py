"""Faults of earlier attempts to evolve language models, planted: each is seen by a check that the sound code passes.

The others are planted elsewhere: adapters that are not used, and steps twenty times too large, in
``tests/training/test_prompt_runs.py``; old adapters under known names, prefixes of others, dropped adapters, answers
that repeat their prompt and layers named by their paths in ``tests/evaluation/test_server_generator.py``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from galab.config import RunConfig
from galab.errors import UsageError
from galab.evaluation.answers import MemberProducts
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, Noise, Plan, draw, plan_of_ranks
from galab.storage.log import read_log
from galab.training.start_or_resume import start

pytest.importorskip("transformers")

from galab.models import base_model, language_model
from galab.models.base_model import BaseModel, load_base
from galab.models.language_model import LanguageModel

RUN: dict[str, Any] = {
    "task": "conciseness(prompts=sums)", "strategy": "eggroll", "population": 6, "sigma": 0.03, "lr": 0.0003, "seed": 3,
    "generations": 2, "report_every": 2, "threads": 1,
}  # fmt: skip


def run(folder: Path, **changes: Any) -> Path:
    start(RunConfig(**RUN | changes), name="run", runs=folder)
    return folder / "run"


def layers_that_share_noise(noise: Noise) -> list[tuple[str, str]]:
    def values(name: str) -> torch.Tensor:
        part = noise[name]
        return part.values if isinstance(part, DenseNoise) else part.a

    names = list(noise)
    pairs = [(one, other) for place, one in enumerate(names) for other in names[:place]]
    return [(one, other) for one, other in pairs if values(one).shape == values(other).shape
            and torch.equal(values(one), values(other))]  # fmt: skip


@pytest.mark.parametrize("rank", [1, 0])
def test_layers_that_share_their_noise(rank: int) -> None:
    """One seed for every parameter: its generator begins again with each."""
    named = [(name, tuple(value.shape)) for name, value in LanguageModel().named_parameters()]
    layout = Layout(*map(tuple, zip(*named, strict=True)))
    plan = plan_of_ranks(layout, [rank] * len(layout.names))
    drawn = draw(plan, table("normal"), 7, 1, 0, 2)
    assert layers_that_share_noise(drawn) == []
    planted = Plan(tuple(dataclasses.replace(tensor, number=0) for tensor in plan.tensors))
    assert len(layers_that_share_noise(draw(planted, table("normal"), 7, 1, 0, 2))) > 10


def test_a_start_that_is_not_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both factors drawn: the base is another model before evolution begins."""
    plain = language_model._Factors.__init__

    def both_drawn(self: Any, *shape: int) -> None:
        plain(self, *shape)
        self.lora_B.data = 0.4 * torch.randn(self.lora_B.shape)

    monkeypatch.setattr(language_model._Factors, "__init__", both_drawn)
    with pytest.raises(UsageError, match="that follow its evolved weights, got others with a step of zero"):
        run(tmp_path, adapt="lora")
    assert list(tmp_path.iterdir()) == []


def test_a_reward_that_counts_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole sequence decoded: the best answer is then an empty one."""

    def base_rewards(folder: Path) -> float:
        metrics = read_log(run(folder) / "log.jsonl")[-1]
        return float(metrics["validation_reward"] - metrics["validation_gained"])

    expected = -18.0  # "the answer is 8 ok." in place of "8"
    assert base_rewards(tmp_path / "sound") == expected
    plain = BaseModel.text
    monkeypatch.setattr(BaseModel, "text", lambda self, tokens: "3+5=" + plain(self, tokens))
    assert base_rewards(tmp_path / "planted") != expected


def test_weights_that_drift_by_adding_and_subtracting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise added to bfloat16 weights in place and taken off again leaves other weights."""

    def digest() -> str:
        return base_model._digest(load_base("tiny").model, Path(base_model.__file__).parent / "tiny_language_model")

    before = digest()
    run(tmp_path / "sound")
    assert digest() == before
    plain = MemberProducts.__call__

    def in_place(self: MemberProducts, x: torch.Tensor, name: str) -> torch.Tensor:
        weight = load_base("tiny").linear[name.removesuffix(".weight")].weight
        noise = 1e-3 * torch.randn(weight.shape)
        rounded = weight.data.bfloat16()
        weight.data = ((rounded + noise).bfloat16() - noise).bfloat16().float()
        return plain(self, x, name)

    kept = {path: layer.weight.data.clone() for path, layer in load_base("tiny").linear.items()}
    monkeypatch.setattr(MemberProducts, "__call__", in_place)
    try:
        run(tmp_path / "planted")
        assert digest() != before
    finally:
        for path, layer in load_base("tiny").linear.items():
            layer.weight.data = kept[path]
    assert digest() == before
