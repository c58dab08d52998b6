"""Runs of networks with parameters of size 0, and of networks for which layer sizes mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import galab
from galab.errors import UsageError
from galab.saved_runs.export import export
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.start_or_resume import resume, start

NETWORK = '''
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.layer = nn.Linear(64, outputs)
        self.empty = nn.Parameter(torch.zeros(0, 5), requires_grad={asks})
        self.register_buffer("nothing", torch.zeros(0))

    def forward(self, x):
        return self.layer(x.flatten(1))


class Sized(nn.Module):
    def __init__(self, outputs, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden[0]), nn.Linear(hidden[0], outputs))

    def forward(self, x):
        return self.layers(x.flatten(1))
'''


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("strategy", ["ga", "eggroll", "snes"])
def test_a_parameter_of_size_0_is_no_hindrance(asks: bool, strategy: str, evolve: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NETWORK.format(asks=asks))
    size = {} if strategy == "ga" else {"population": 8}
    folder = evolve("run", model=f"{file}:Net", hidden=None, strategy=strategy, generations=4, **size)
    resume(folder, {"generations": 6})
    assert "every checkpoint follows" in conclusion(verify(RunFolder(folder)))
    export(open_saved(folder), "torch", tmp_path / "out.pt")
    network = galab.load(folder)
    state = torch.load(tmp_path / "out.pt", weights_only=True)
    assert set(state) == {"layer.weight", "layer.bias", "empty", "nothing"}
    network.load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "linear", "hidden": "8"}, "expected --model with a constructor that takes hidden, got linear with"),
        ({"model": "linear", "activation": "tanh"}, "takes activation, got linear with --activation"),
        ({"model": "FILE:Net", "hidden": "8"}, "which would change nothing; drop --hidden"),
        ({"model": "FILE:Sized"}, "expected --hidden, which its constructor needs, got none"),
    ],
)
def test_sizes_that_a_network_does_not_ask_for_are_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(NETWORK.format(asks=True))
    values = {"task": "digits"} | changes | {"model": changes["model"].replace("FILE", str(file))}
    with pytest.raises(UsageError, match=said):
        start(compose(values), runs=tmp_path)
    assert not list(tmp_path.glob("*/config.json"))


def test_a_file_and_a_run_that_name_sizes_for_nothing_are_taken(evolve: Any, tmp_path: Path) -> None:
    folder = evolve("old", model="linear", hidden="8", generations=2)
    assert resume(folder, {"generations": 4}).generation == 4
    assert compose({}, config_file=folder / "config.json").hidden == "8"
