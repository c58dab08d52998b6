"""Ensembles: how the answers of several networks become one."""

from __future__ import annotations

import pytest
import torch

from galab.errors import UsageError
from galab.models.ensemble import Ensemble


def test_each_logit_is_the_largest_of_all_nets():
    module, inputs = Ensemble((6,), 3, hidden=(5,), nets=4), torch.randn(7, 6)
    every = torch.stack([net(inputs) for net in module.nets])
    torch.testing.assert_close(module(inputs), every.max(0).values)
    assert len(module.nets) == 4
    assert len({name.split(".")[1] for name, _ in module.named_parameters()}) == 4


def test_gated_nets_are_weighted_by_their_own_importance():
    module, inputs = Ensemble((6,), 3, hidden=(5,), nets=2, combine="gated"), torch.randn(7, 6)
    first, second = (net(inputs) for net in module.nets)
    share = torch.sigmoid(first[:, 3] - second[:, 3])[:, None]
    torch.testing.assert_close(module(inputs), share * first[:, :3] + (1 - share) * second[:, :3])


def test_nets_may_be_convolutions():
    assert Ensemble((3, 64, 64), 10, nets=2, kind="conv")(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_code_of_somebodys_own_does_not_run_inside_an_ensemble(tmp_path):
    """Trust looks at the model's own name."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Net: pass\n")
    for kind in (f"{tmp_path}/evil.py:Net", "os:system", "memory(heads=8)"):
        with pytest.raises(UsageError, match="a name that `galab models` lists"):
            Ensemble((6,), 3, kind=kind)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("options", [{"nets": 0}, {"combine": "mean"}, {"kind": "ensemble"}])
def test_what_is_not_understood_is_refused(options):
    with pytest.raises(UsageError, match="model 'ensemble': expected"):
        Ensemble((6,), 3, **options)
