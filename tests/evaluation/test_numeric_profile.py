"""The numeric profile."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from galab.errors import UsageError
from galab.evaluation.numeric_profile import default_threads, differences, numeric_profile, resolve_device

SETTINGS = {"device": "cpu", "precision": "float32", "chunk": 32, "threads": 2, "forward": "folded", "block": 64}


def test_equal_profiles_have_no_differences():
    assert differences(numeric_profile(**SETTINGS), numeric_profile(**SETTINGS)) == []


def test_a_profile_names_libraries_and_machine():
    found = numeric_profile(**SETTINGS)
    assert found["torch"] == str(torch.__version__)
    assert found["numpy"] == np.__version__
    assert found["device"].startswith("cpu (")
    assert found["cpu_capability"].startswith(torch.backends.cpu.get_cpu_capability())
    assert all(type(value) in (str, int, bool) for value in found.values())


@pytest.mark.parametrize(
    ("name", "value"), [("precision", "bfloat16"), ("chunk", 33), ("threads", 1), ("forward", "vmap"), ("block", 128)]
)
def test_every_setting_makes_a_difference_in_words(name, value):
    here = numeric_profile(**{**SETTINGS, name: value})
    assert differences(numeric_profile(**SETTINGS), here) == [f"{name} {SETTINGS[name]} -> {value}"]


def test_what_only_one_profile_knows_is_a_difference():
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": 4}) == ["a 1 -> None", "b 2 -> 3", "c None -> 4"]


def test_devices_are_resolved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="found none; use --device cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"


def test_threads_default_to_what_torch_would_take():
    assert default_threads() == torch.get_num_threads()
