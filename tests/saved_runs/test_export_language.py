"""What is taken out of a run of a language model is that model, for other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from galab.config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import open_saved
from galab.training.start_or_resume import start

pytestmark = pytest.mark.filterwarnings("ignore")  # of other packages at each other
transformers = pytest.importorskip("transformers")
TINY = Path(__file__).parents[2] / "galab" / "models" / "tiny_language_model"
RUN: dict[str, Any] = {
    "task": "conciseness(prompts=sums)", "seed": 3, "generations": 2, "threads": 1, "strategy": "eggroll",
    "population": 12, "sigma": 0.05, "lr": 0.001,
}  # fmt: skip
TOKENS = torch.tensor([[31, 38, 33, 39], [30, 38, 30, 39]])


@pytest.fixture
def trained(tmp_path: Path, no_waiting_for_the_disk: None) -> Any:
    def make(**changes: Any) -> Any:
        start(RunConfig(**RUN | changes), name="run", runs=tmp_path)
        return open_saved(tmp_path / "run")

    return make


def logits_of(saved: Any) -> torch.Tensor:
    with torch.inference_mode():
        return saved.module_with(saved.member())(TOKENS)


def test_a_merged_model_is_a_folder_of_hugging_face(trained: Any, tmp_path: Path) -> None:
    saved, folder = trained(), tmp_path / "merged"
    shutil.copytree(TINY, folder)
    export(saved, "safetensors", folder / "model.safetensors")
    found, before = (
        transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)(TOKENS).logits[:, -1].detach()
        for place in (folder, TINY)
    )
    torch.testing.assert_close(found, logits_of(saved), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, before, rtol=1e-3, atol=1e-3), "it should have moved"


@pytest.mark.parametrize(
    ("layers", "targets"),
    [
        (None, {"layers_to_transform": None}),
        ("1", {"layers_to_transform": [1]}),
        ("*q_proj,*v_proj", {"target_modules": ["q_proj", "v_proj"]}),
        ("*.0.mlp.up_proj,*.1.mlp.down_proj", {"layers_to_transform": None}),
    ],
)
def test_an_adapter_is_read_by_peft(trained: Any, tmp_path: Path, layers: str | None, targets: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    folder = tmp_path / "own"
    saved = trained(adapt="lora", lora_rank=3, layers=layers, sigma_relative="on", sigma=3.0, lr=1.0)
    export(saved, "peft", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert {name: config.get(name) for name in targets} == targets
    base = transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    with torch.inference_mode():
        before = base(TOKENS).logits[:, -1]
        found = peft.PeftModel.from_pretrained(base, folder)(TOKENS).logits[:, -1]
    assert not torch.allclose(found, before, rtol=1e-3, atol=1e-3), "it should have moved"
    torch.testing.assert_close(found, logits_of(saved), rtol=1e-4, atol=1e-4)


def test_what_is_no_adapter_is_refused(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run with --adapt lora for --to peft, got --adapt full, which"):
        export(trained(), "peft", tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_another_network_is_no_language_model(tmp_path: Path, no_waiting_for_the_disk: None) -> None:
    config = RunConfig(task="digits", hidden="4", parents=2, children=4, generations=1, threads=1)
    start(config, name="run", runs=tmp_path)
    with pytest.raises(UsageError, match="expected a run of a language model, got --model mlp; choose another run"):
        export(open_saved(tmp_path / "run"), "peft", tmp_path / "own")


def test_a_file_in_the_place_of_the_folder_is_said(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "own").touch()
    with pytest.raises(UsageError, match="expected a folder for --to peft, got the file "):
        export(trained(adapt="lora"), "peft", tmp_path / "own")
