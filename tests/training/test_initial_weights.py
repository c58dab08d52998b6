"""Where a run's weights begin: what a module of the user's says of itself counts, and frozen parameters stay."""

from __future__ import annotations

import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import newest_state
from torch import nn

import galab
from galab.config.run_config import RunConfig
from galab.errors import CheckpointError, UsageError
from galab.genome.initial import founders_of, like_torchs_own
from galab.saved_runs.export import export, network_of_genome
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage.run_folder import RunFolder
from galab.training.build import network_and_task
from galab.training.checkpoint import load_founders
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume

#: Fills the place of ``set(net)`` in its constructor.
NET = """
import torch
from torch import nn

class Cast(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return x.to(self.kind)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.head = nn.Linear(64, 6), nn.Linear(6, 10)
        self.set()

    def set(self):
        {body}

    def forward(self, x):
        return self.head(torch.tanh(self.base(x.flatten(1))))
"""
XAVIER = "nn.init.xavier_normal_(self.base.weight, gain=3.0)"
TRAINED = ("torch.manual_seed(3)", "for value in self.parameters(): nn.init.normal_(value)")
FROZEN = "self.base.requires_grad_(False)"
#: Every kind of strategy and of crossover and mutation that meets the layout in another way.
STRATEGIES: dict[str, dict[str, Any]] = {
    "ga": {},
    "rows": {"crossover": "row", "mutate": "dense,row,weights", "granularity": "tensor"},
    "genes": {"crossover": "genes-union", "mutate": "dense"},
    "low rank": {"mutate": "low-rank", "granularity": "global"},
    "by weight": {"granularity": "parameter"},
    "random": {"strategy": "random"},
    "eggroll": {"strategy": "eggroll", "population": 8},
    "openai-es": {"strategy": "openai-es", "population": 8, "optimizer": "adam"},
    "snes": {"strategy": "snes", "population": 8},
    "adam": {"strategy": "adam"},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a network whose constructor ends with some lines; gives its reference."""

    def make(*lines: str, name: str = "net.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(NET).replace("{body}", "\n        ".join(lines or ["pass"])))
        return f"{path}:Net"

    return make


def founders(folder: Path) -> Any:
    return load_founders(folder / "founders.pkl")


def of(model: str, **values: Any) -> nn.Module:
    return network_and_task(resolve(RunConfig(task="digits", model=model, seed=5, **values)))[0]


def changes(kind: str) -> dict[str, Any]:
    return {"hidden": None, **STRATEGIES[kind]}


def test_a_plain_module_is_drawn_as_ever(write: Any, evolve: Any, caplog: Any) -> None:
    folder = evolve(model=write(), hidden=None)
    assert founders(folder).sha256 == founders_of(of(write()), 5).sha256
    assert "module's own" not in caplog.text


@pytest.mark.parametrize("kind", ["ga", "eggroll", "snes", "adam"])
def test_weights_that_a_constructor_sets_are_kept(kind: str, write: Any, evolve: Any, caplog: Any) -> None:
    reference = write(*TRAINED)
    own = of(reference)
    small = {} if kind == "adam" else {"sigma": 0.001}
    folder = evolve(model=reference, generations=1, **small, **changes(kind))
    recipe = founders(folder)
    assert recipe.given.shape == (1, own.base.weight.numel() + 6 + 70)
    expected = torch.cat([value.flatten() for value in own.parameters()]).numpy()
    assert np.abs(recipe.given[0] / 2**24 - expected).max() < 2**-24
    assert "begin as the module's own (as its constructor sets them, the same for all); --init draw" in caplog.text


def test_an_initialisation_of_its_own_makes_founders_that_differ_and_can_be_had_again(write: Any, evolve: Any) -> None:
    reference = write(XAVIER)
    first = founders(evolve("one", model=reference, hidden=None))
    assert len(first.given) == 3
    assert len(np.unique(first.given[:, 0])) == 3
    for founder in range(3):
        torch.manual_seed(5 + founder)
        built = galab.models.build_model(reference, (1, 8, 8), 10, torch_seed=5 + founder)
        assert np.abs(first.given[founder, :6] / 2**24 - built.base.weight.flatten()[:6].numpy()).max() < 2**-24
    assert founders(evolve("two", model=reference, hidden=None)).sha256 == first.sha256
    assert founders(evolve("other", model=reference, hidden=None, seed=6)).sha256 != first.sha256
    clones = evolve("clones", model=reference, hidden=None, founders="clones")
    assert len(founders(clones).given) == 1
    drawn = founders(evolve("drawn", model=reference, hidden=None, init="draw"))
    assert drawn.sha256 == founders_of(of(reference), 5).sha256


def test_own_can_be_asked_for(write: Any, evolve: Any) -> None:
    recipe = founders(evolve(model=write(), hidden=None, init="own"))
    assert recipe.given.shape == (3, 64 * 6 + 6 + 70)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_frozen_parameters_cost_nothing_and_stay(kind: str, write: Any, evolve: Any, tmp_path: Path) -> None:
    reference = write("nn.init.orthogonal_(self.base.weight)", FROZEN)
    own = of(reference)
    folder = evolve(model=reference, generations=4, **changes(kind))
    state = newest_state(folder)
    assert state["layout"]["names"] == ["head.weight", "head.bias"]
    assert state["weights"].shape[1] == 70
    assert not any(name.startswith("base") for name in state["buffers"])
    resume(folder, {"generations": 6})
    assert "does not" not in conclusion(verify(RunFolder(folder)))
    best = galab.load(folder)
    assert torch.equal(best.base.weight, own.base.weight)
    assert not torch.equal(best.head.weight, own.head.weight)
    assert [value.requires_grad for value in best.parameters()] == [False, False, True, True]
    export(open_saved(folder), "torch", tmp_path / "best.pt")
    exported = torch.load(tmp_path / "best.pt", weights_only=True)
    assert torch.equal(exported["base.weight"], own.base.weight)
    assert torch.equal(exported["head.weight"], best.head.weight)


def test_the_same_run_with_workers_and_after_a_resume(write: Any, evolve: Any) -> None:
    reference = write(FROZEN)
    whole = evolve("whole", model=reference, hidden=None, generations=6)
    shared = evolve("shared", model=reference, hidden=None, generations=3, workers=1)
    resume(shared, {"generations": 6})
    assert np.array_equal(newest_state(whole)["weights"], newest_state(shared)["weights"])


def test_a_pattern_freezes(write: Any, evolve: Any) -> None:
    folder = evolve(model=write(), hidden=None, freeze="base.*, *.bias")
    assert newest_state(folder)["layout"]["names"] == ["head.weight"]
    with pytest.raises(UsageError, match=r"expected --freeze to name parameters, got 'bse\.\*', which matches none"):
        evolve("no", model=write(), hidden=None, freeze="bse.*")


def test_a_genome_of_frozen_weights_is_small_and_knows_its_own(write: Any, evolve: Any, tmp_path: Path) -> None:
    folder = evolve(model=write(FROZEN), hidden=None)
    size = export(open_saved(folder), "genome", tmp_path / "best.json")
    assert size < 6000
    assert torch.equal(network_of_genome(tmp_path / "best.json").head.weight, galab.load(folder).head.weight)
    write("nn.init.ones_(self.base.weight)", FROZEN)
    with pytest.raises(CheckpointError, match="expected the frozen parameters that .*best.json' was made with"):
        network_of_genome(tmp_path / "best.json", trust=True)


def test_a_run_keeps_its_frozen_weights_though_the_constructor_gives_others_now(
    write: Any, evolve: Any, tmp_path: Path
) -> None:
    reference = write(FROZEN)
    own = of(reference)
    folder = evolve(model=reference, hidden=None)
    write("nn.init.ones_(self.base.weight)", FROZEN)
    assert torch.equal(galab.load(folder, trust=True).base.weight, own.base.weight)
    resume(folder, {"generations": 7}, trust=True)
    alone = tmp_path / "alone.pkl"
    alone.write_bytes(sorted((folder / "checkpoints").iterdir())[-1].read_bytes())
    with pytest.raises(CheckpointError, match=r"got other values: .* open the checkpoint in its own run folder"):
        galab.load(alone, trust=True)


def test_a_file_gives_frozen_weights_too(write: Any, evolve: Any, tmp_path: Path) -> None:
    reference = write(FROZEN)
    trained = of(reference)
    with torch.no_grad():
        for value in trained.parameters():
            value.uniform_(-1, 1)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    folder = evolve(model=reference, hidden=None, init=str(tmp_path / "trained.pt"))
    assert torch.equal(galab.load(folder).base.weight, trained.base.weight)
    resume(folder, {"generations": 7})
    assert torch.equal(galab.load(folder).base.weight, trained.base.weight)


def test_a_file_with_what_the_network_does_not_have_is_refused(write: Any, evolve: Any, tmp_path: Path) -> None:
    model = write("pass")
    weights = network_and_task(resolve(RunConfig(task="digits", model=model)))[0].state_dict()
    torch.save({**weights, "extra.weight": torch.zeros(3)}, tmp_path / "more.pt")
    with pytest.raises(UsageError, match=r"got 'extra.weight' besides, for which it has no place"):
        evolve(model=model, init=str(tmp_path / "more.pt"), generations=1, hidden=None)


def test_a_file_with_two_values_of_a_shared_weight_is_refused(write: Any, evolve: Any, tmp_path: Path) -> None:
    model = write("self.base = nn.Linear(64, 6); self.twin = self.base")
    weights = network_and_task(resolve(RunConfig(task="digits", model=model)))[0].state_dict()
    torch.save(weights, tmp_path / "same.pt")
    evolve(model=model, init=str(tmp_path / "same.pt"), generations=1, hidden=None)
    torch.save({**weights, "twin.bias": weights["base.bias"] + 1}, tmp_path / "two.pt")
    with pytest.raises(UsageError, match=r"one value for 'base.bias' and 'twin.bias', which the network shares"):
        evolve(model=model, init=str(tmp_path / "two.pt"), generations=1, hidden=None)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_a_network_of_another_type_needs_no_flag_where_bfloat16_is_fast(
    kind: str, write: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.evaluation.numeric_profile._has_amx", lambda: True)
    model = write(f"self.head = nn.Sequential(Cast(torch.{kind}), nn.Linear(6, 10, dtype=torch.{kind}))")
    folder = evolve(model=model, generations=1, hidden=None, precision="auto")
    assert RunFolder.open(folder).read_config()["hyperparameters"]["precision"] == "float32"
    folder = evolve(model=write("pass"), generations=1, hidden=None, precision="auto", name="plain")
    assert RunFolder.open(folder).read_config()["hyperparameters"]["precision"] == "bfloat16"


def test_a_network_that_would_evolve_more_now_is_refused(write: Any, evolve: Any) -> None:
    folder = evolve(model=write(FROZEN), hidden=None)
    write()
    with pytest.raises(UsageError, match="to hold a network like Net here, got another one .they differ at 'base"):
        resume(folder, {"generations": 7}, trust=True)


def test_a_saved_run_that_evolved_what_is_frozen_now_goes_on_as_it_was(write: Any, evolve: Any) -> None:
    folder = evolve(model=write(), hidden=None)
    write(FROZEN)
    resume(folder, {"generations": 7}, trust=True)
    assert len(newest_state(folder)["layout"]["names"]) == 4


def test_a_run_that_starts_from_another_keeps_its_frozen_weights(write: Any, evolve: Any, tmp_path: Path) -> None:
    reference = write(FROZEN)
    trained = of(reference)
    with torch.no_grad():
        trained.base.weight.fill_(0.25)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    first = evolve("origin", model=reference, hidden=None, init=str(tmp_path / "trained.pt"))
    second = evolve("next", model=reference, hidden=None, origin=str(first))
    assert (galab.load(second).base.weight == 0.25).all()
    with pytest.raises(UsageError, match="expected frozen parameters as the model's constructor gives them"):
        export(open_saved(second), "genome", tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("kind", [nn.MultiheadAttention, nn.TransformerEncoderLayer])
def test_torchs_own_zeros_are_no_weights_of_ones_own(kind: Any) -> None:
    assert like_torchs_own(kind(16, 2))
    assert like_torchs_own(nn.Embedding(2, 512, padding_idx=0))
    zeroed = nn.Linear(4, 2)
    nn.init.zeros_(zeroed.weight)
    assert not like_torchs_own(zeroed)


@pytest.fixture
def weights(evolve: Any, tmp_path: Path) -> Path:
    """A file of weights for the small network."""
    export(open_saved(evolve()), "torch", tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def refused(small: dict[str, Any], path: Path, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        galab.run(name="begun", runs=path.parent, **small | {"init": str(path)})
    assert "\n" not in str(caught.value)
    assert not (path.parent / "begun").exists()


def test_a_flipped_bit_in_a_file_of_weights_is_noticed(small: dict[str, Any], weights: Path) -> None:
    content = weights.read_bytes()
    value = torch.load(weights, weights_only=True)["hidden.0.weight"].numpy().tobytes()
    place = content.index(value) + 500
    weights.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    refused(small, weights, "expected the checksums in .* to fit its content, got another content in '[a-z]+/data/")


@pytest.mark.parametrize("length", [0, 2, 100, 3000])
def test_a_file_of_weights_that_was_cut_short(small: dict[str, Any], weights: Path, length: int) -> None:
    weights.write_bytes(weights.read_bytes()[:length])
    refused(small, weights, f"got {length:,} bytes of one that was cut short; copy it again")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: {1: value}, "got the key 1; save it"),
        (lambda value: {"hidden.0.weight": value.to_sparse()}, "got a sparse one as 'hidden.0.weight'; make it dense"),
        (lambda value: {"hidden.0.weight": value.to("meta")}, "got a meta one as 'hidden.0.weight'; make it dense"),
        (lambda value: {"hidden.0.weight": value.to(torch.complex64)}, "expected .* real numbers, got torch.complex64"),
        (lambda value: {f"p{i}": value[:1] for i in range(99)}, r"given weights, got p0, p1, .*, p7, \.\.\.$"),
        (lambda value: [value], r"hold a state_dict \(name to tensor\), got list"),
        (lambda value: {"hidden.0.weight": torch.zeros(1).expand(2**40)}, "to have shape"),
    ],
)
def test_weights_of_another_sort_are_one_sentence_each(
    small: dict[str, Any], weights: Path, change: Callable[[torch.Tensor], Any], words: str
) -> None:
    torch.save(change(torch.load(weights, weights_only=True)["hidden.0.weight"]), weights)
    refused(small, weights, words)


def test_a_packed_file_of_weights_is_refused_before_it_is_unpacked(small: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(2**26))
    refused(small, path, "as torch.save stores them, uncompressed")
    path.unlink()
    path.mkdir()
    refused(small, path, "got a folder or a device")
