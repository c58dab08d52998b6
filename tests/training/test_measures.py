"""A task must measure what the fitness and the target need."""

from pathlib import Path
from typing import Any

import pytest

from galab.errors import UsageError

TASK = """
import torch
from galab.tasks import Classification


class Half(Classification):
    def measure(self, outputs, targets):
        found = super().measure(outputs, targets)
        return {{name: found[name] for name in {names}}}


def half() -> Classification:
    inputs, targets = torch.linspace(-1, 1, 40).reshape(20, 2), torch.arange(20) % 2
    split = lambda a, b: (inputs[a:b], targets[a:b])
    return Half(name="half", train=split(0, 10), validation=split(10, 15), test=split(15, 20), classes=2)
"""


@pytest.mark.parametrize(
    ("names", "options", "wanted"),
    [
        (["correct"], {}, "measure 'loss', which --fitness cross-entropy needs, got correct"),
        (["loss"], {"fitness": "accuracy"}, "measure 'correct', which --fitness accuracy needs, got loss"),
        (["loss"], {"target": 0.9}, "measure 'correct', which --target needs"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(
    evolve: Any, tmp_path: Path, names: list[str], options: dict[str, Any], wanted: str
) -> None:
    (tmp_path / "half.py").write_text(TASK.format(names=names))
    with pytest.raises(UsageError, match=wanted):
        evolve("run", task=f"{tmp_path / 'half.py'}:half", **options)
    assert not (tmp_path / "run").exists()


def test_what_is_not_needed_may_be_missing(evolve: Any, tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(TASK.format(names=["loss"]))
    assert (evolve("run", task=f"{tmp_path / 'half.py'}:half", batch=0) / "status.json").exists()
