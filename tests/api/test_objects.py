"""Functions and classes given where a name is expected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import galab
from galab.api.objects import named
from galab.config.registry import MODELS
from galab.errors import UsageError

SCRIPT = """
import numpy as np
import torch
import galab

calls = 0
print("imported", __name__)


def dots():
    bits = np.random.Philox(key=7).random_raw(600).reshape(300, 2) / 2**64
    return galab.Classification.split("dots", (bits, (bits[:, 0] > bits[:, 1]).astype(int)))


class Net(torch.nn.Linear):
    def __init__(self, input_shape, outputs):
        super().__init__(input_shape[0], outputs)


if __name__ == "__main__":
    result = galab.run(task=dots, model=Net, name="a", generations=3, parents=2, children=4, batch=0, seed=1)
    assert type(galab.load(result.folder.path)).__name__ == "Net"
"""


class Outer:
    class Inner(nn.Linear): ...


def test_a_script_gives_its_own_function_and_class_and_another_process_goes_on(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)

    def call(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call("script.py").splitlines()[0] == "imported __main__"
    config = (tmp_path / "runs" / "a" / "config.json").read_text()
    assert '"script.py:dots"' in config
    assert '"script.py:Net"' in config
    said = call("-c", "from galab.cli import main; main(['resume', 'runs/a', '--generations', '5'])")
    assert "imported galab_user_script" in said
    assert "5 generations done" in said


def test_an_installed_one_goes_by_its_module() -> None:
    with named({"model": nn.Linear, "task": "digits", "sigma": 0.1}) as found:
        assert MODELS.load(found["model"]) is nn.Linear
    assert found == {"model": "torch.nn.modules.linear:Linear", "task": "digits", "sigma": 0.1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": lambda: None}, "task as something that has a name, got a lambda"),
        ({"model": Outer.Inner}, "expected model=Outer.Inner to stand in a file, .* give model='FILE.py:Inner'"),
        ({"model": nn.Linear(2, 2)}, "expected model to be a name, a class of torch modules, or 'FILE.py:NAME', got"),
        ({"task": np.zeros(3)}, "expected task to be a name, a function that returns a task, .* type ndarray"),
        ({"strategy": 3}, "expected strategy to be a name, a class with ask, tell"),
    ],
)
def test_what_could_not_be_found_again_is_refused(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        galab.run(runs=tmp_path, **given)
    assert not any(tmp_path.iterdir())


def test_one_of_a_notebook_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    net = type("Net", (nn.Linear,), {"__module__": "__main__"})
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(UsageError, match="got one made in a notebook or a prompt: a resumed run could not find it"):
        named({"model": net}).__enter__()
