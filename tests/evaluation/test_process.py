"""What a process does before it evaluates."""

import subprocess
import sys

import pytest
import torch

from galab.evaluation import numeric_profile

SCRIPT = """
import torch
called = []
for name in ("exp", "log", "tanh"):
    real = getattr(torch, name)
    setattr(torch, name, lambda x, real=real, name=name: called.append((name, x.numel(), x.dtype)) or real(x))
import galab.evaluation.numeric_profile as process
process.warm_up_kernels()
process.warm_up_kernels()
print(sorted(called, key=str))
"""


@pytest.mark.slow
def test_every_function_is_called_on_one_number_first():
    """In a process of its own, because a function's first call happens once."""
    said = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    kinds = ("torch.float32", "torch.float64")
    assert said.strip() == "[" + ", ".join(f"('{n}', 1, {k})" for n in ("exp", "log", "tanh") for k in kinds) + "]"


def test_an_evaluator_settles_the_kernels_before_its_first_chunk(monkeypatch):
    from galab.evaluation import dense_evaluator
    from galab.genome.initial import founders_of
    from galab.models import MLP
    from galab.tasks import Classification

    order = []
    monkeypatch.setattr(dense_evaluator, "warm_up_kernels", lambda: order.append("settled"))
    monkeypatch.setattr(dense_evaluator, "choose_forward", lambda *_: order.append("probed") or "loop")
    split = torch.zeros(4, 3), torch.tensor([0, 1, 0, 1])
    task = Classification(name="toy", train=split, validation=split, test=split, classes=2)
    module = MLP((3,), 2, hidden=(2,)).eval().requires_grad_(False)
    layout = founders_of(module, 1).layout
    dense_evaluator.Evaluator(module, layout, task, chunk=2, precision="float32", device=torch.device("cpu"))
    assert order == ["settled", "probed"]


def test_keeping_memory_never_raises():
    assert numeric_profile.keep_freed_memory() in (True, False)
