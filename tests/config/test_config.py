"""The configuration: every bound, every choice, every combination that makes no sense, and the way to plain data."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from galab.config import RunConfig, field_type, flag
from galab.config.fields import FIELDS, Fields
from galab.config.option import understands
from galab.config.parsing import hidden_sizes
from galab.config.registry import Registry
from galab.errors import UsageError

NUMBERS = [name for name in FIELDS if field_type(name) in (int, float)]
EVOLUTION = {name for name, item in FIELDS.items() if not understands(item, "genetic")}
CHOICES = [name for name, item in FIELDS.items() if item.metadata["choices"] is not None]
SIDES = ("low", "high")
#: With a task of prompts.
PROMPTS: dict[str, Any] = {"task": "conciseness"}
#: What a field at its bound needs beside it for the whole to make sense.
COMPANIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("parents", "high"): {"survival": "plus"},
    ("children", "low"): {"survival": "plus"},
    ("tournament", "low"): {"selection": "tournament"},
    **{("rank_pressure", side): {"selection": "rank"} for side in ("low", "high")},
    **{("mate_choices", side): {"crossover": "row", "mate": "similar"} for side in ("low", "high")},
    **{("niche_radius", side): {"niche": "sharing"} for side in ("low", "high")},
    ("niche_neighbours", "low"): {"niche": "local"},
    **{(name, "low"): {"islands": 2} for name in ("migrate_every", "migrants")},
    ("mutate_rank", "high"): {"mutate": "low-rank"},
    **{("momentum", side): {"mutate": "momentum", "crossover": "none"} for side in ("low", "high")},
    **{("step_size_reversion", side): {"step_size": "mean-reverting"} for side in ("low", "high")},
    **{("inheritance", side): {"fitness": "inherited"} for side in ("low", "high")},
    ("sigma_floor", "high"): {"sigma": 8.0},
    **{(name, side): {"task": "cartpole"} for name in ("episodes", "episode_steps") for side in ("low", "high")},
    **{("confirm_episodes", side): {"task": "cartpole", "confirm": 1} for side in ("low", "high")},
    ("sigma_ceiling", "low"): {"sigma": 2**-20},
    ("parents_per_child", "low"): {"crossover": "mean"},
    ("parents_per_child", "high"): {"crossover": "mean", "parents": 4096, "children": 4096},
    ("step_size_groups", "high"): {"step_size": "gesmr", "children": 4096},
    **{(name, side): {"executor": "ray", "workers": 1} for name in ("worker_cpus", "worker_gpus") for side in SIDES},
    ("price_per_hour", "low"): {"workers": 1},
    **{("answer_tokens", side): PROMPTS for side in SIDES},
    **{("lora_rank", side): {**PROMPTS, "adapt": "lora"} for side in SIDES},
    **{(name, side): {"granularity": "tensor"} for name in ("floor_rms", "ceiling_rms") for side in ("low", "high")},
}
#: Where workers run and what they cost.
CLUSTER = {"executor", "address", "worker_cpus", "worker_gpus", "price_per_hour"}
#: What answers prompts.
SERVER = {"generator", "server", "adapter_folder"}
#: What a word needs beside it.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("mutate_shares", "inherited"): {"mutate": "dense,layer"},
    ("at_bounds", "reflect"): {"bounds": "-1:1"},
    ("cases", "classes"): {"selection": "lexicase"},
    ("mutate", "flip"): {"genome": "binary"},
    ("step_size", "schedule"): {"sigma_schedule": "0:0.02"},
    ("act", "sample"): {"task": "cartpole"},
    ("normalize_observations", "on"): {"task": "cartpole"},
    ("mate", "similar"): {"crossover": "row"},
    ("mate", "dissimilar"): {"crossover": "row"},
    ("executor", "ray"): {"workers": 1},
    ("adapt", "lora"): PROMPTS,
    ("sigma_relative", "on"): PROMPTS,
    ("find_sigma", "on"): PROMPTS,
    ("baseline", "prompt"): PROMPTS,
    **{("generator", name): {**PROMPTS, "adapt": "lora"} for name in ("sglang", "vllm")},
    ("model", "llm"): PROMPTS,
}


def searched(name: str) -> dict[str, Any]:
    """The strategy that understands a field, where the default one does not."""
    kinds = FIELDS[name].metadata["kinds"]
    return {} if name not in EVOLUTION else {"strategy": "integer-eggroll" if kinds == ("integer",) else "eggroll"}


def choices_of(name: str) -> list[str]:
    """The words that a field takes."""
    choices = FIELDS[name].metadata["choices"]
    return choices.names() if isinstance(choices, Registry) else list(choices)


def bounds() -> list[tuple[str, str, float]]:
    """Every (field, "low" or "high", bound)."""
    found = [(name, side, FIELDS[name].metadata[side]) for name in NUMBERS for side in ("low", "high")]
    return [(name, side, bound) for name, side, bound in found if bound is not None]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_sentence_of_help_and_a_group(name: str) -> None:
    metadata = FIELDS[name].metadata
    assert metadata["help"].endswith(".")
    assert len(metadata["help"]) > 10
    assert metadata["group"]
    assert field_type(name) in (int, float, str)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_lower_bound(name: str) -> None:
    # 0 means "the same noise for ever" elsewhere, and is refused with a sentence of its own.
    # A return may be any number.
    bounded = name in ("noise_reuse", "target") or FIELDS[name].metadata["above"] is not None
    assert bounded or FIELDS[name].metadata["low"] is not None


def test_only_stop_rules_records_and_means_may_change_on_resume() -> None:
    changeable = {name for name, item in FIELDS.items() if item.metadata["changeable"]}
    limits = {"generations", "seconds", "target", "patience"}
    assert changeable == {*limits, "save_every", "keep", "cache_mb", "workers", "member_seconds", *CLUSTER, *SERVER}


@pytest.mark.parametrize(("name", "spelling"), [("save_every", "--save-every"), ("task", "--task")])
def test_a_flag_is_spelt_with_hyphens(name: str, spelling: str) -> None:
    assert flag(name) == spelling


def test_a_field_type_leaves_out_none() -> None:
    assert (field_type("generations"), field_type("sigma"), field_type("init")) == (int, float, str)


@pytest.mark.parametrize(("name", "side", "bound"), bounds())
def test_a_bound_itself_is_allowed(name: str, side: str, bound: float) -> None:
    value = field_type(name)(bound)
    # What a field says of the others is another matter.
    kind = RunConfig if FIELDS[name].metadata["idle"] is None else Fields
    assert getattr(kind(**{name: value, **searched(name), **COMPANIONS.get((name, side), {})}), name) == value


@pytest.mark.parametrize(("name", "side", "bound"), bounds())
def test_beyond_a_bound_is_refused_with_the_bound(name: str, side: str, bound: float) -> None:
    direction = -1 if side == "low" else 1
    beyond = int(bound) + direction if field_type(name) is int else math.nextafter(bound, direction * math.inf)
    with pytest.raises(UsageError) as caught:
        RunConfig(**{name: beyond})
    assert f"expected {flag(name)} " in str(caught.value)
    assert str(bound) in str(caught.value)
    assert str(beyond) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NUMBERS if field_type(name) is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_must_be_finite(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"expected {flag(name)} .*got {value}"):
        RunConfig(**{name: value})


@pytest.mark.parametrize("name", [name for name in NUMBERS if FIELDS[name].metadata["high"] is not None])
def test_a_number_of_400_digits_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=flag(name)):
        RunConfig(**{name: 10**400})


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_of_another_type_is_refused(name: str) -> None:
    wrong: dict[type, list[Any]] = {int: [1.0, "1", True, [1]], float: ["0.5", True, [0.5]], str: [1, True, b"mnist"]}
    for value in wrong[field_type(name)]:
        with pytest.raises(UsageError, match=f"expected {flag(name)} to be of type {field_type(name).__name__}"):
            RunConfig(**{name: value})


@pytest.mark.parametrize("name", FIELDS)
def test_none_is_taken_exactly_where_it_is_the_default(name: str) -> None:
    if FIELDS[name].default is None:
        assert RunConfig(**{name: None}) == RunConfig()
    else:
        with pytest.raises(UsageError, match=flag(name)):
            RunConfig(**{name: None})


def test_a_whole_number_is_a_float_too() -> None:
    assert RunConfig(sigma=1).sigma == 1


@pytest.mark.parametrize(("name", "word"), [(name, word) for name in CHOICES for word in choices_of(name)])
def test_every_choice_is_taken(name: str, word: str) -> None:
    assert getattr(RunConfig(**{name: word}, **searched(name), **BESIDE.get((name, word), {})), name) == word


@pytest.mark.parametrize("name", CHOICES)
def test_a_misspelt_choice_is_refused_with_the_closest(name: str) -> None:
    word = choices_of(name)[0]
    with pytest.raises(UsageError, match=f"Did you mean '{word}'"):
        RunConfig(**{name: word + "x"})


def test_a_plain_choice_lists_the_words() -> None:
    with pytest.raises(UsageError, match="expected --ties to be one of younger, older, random, got 'coin'"):
        RunConfig(ties="coin")


def test_a_reference_passes_for_a_name() -> None:
    assert RunConfig(model="nets.py:Net").model == "nets.py:Net"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"parents": 4, "elites": 5}, "--elites at most --parents"),
        ({"parents": 33, "children": 32}, "--children plus --elites at least --parents"),
        ({"sigma": 0.01, "sigma_floor": 0.02}, "--sigma between --sigma-floor"),
        ({"sigma": 0.5, "sigma_ceiling": 0.25}, "--sigma between --sigma-floor"),
        ({"sigma": 0.02, "sigma_floor": 4.0, "sigma_ceiling": 0.001}, "--sigma between --sigma-floor"),
        ({"hidden": "64,-3"}, "--hidden as whole numbers"),
        ({"hidden": "0"}, "--hidden as whole numbers"),
        ({"hidden": "wide"}, "--hidden as whole numbers"),
        ({"hidden": "8²"}, "--hidden as whole numbers"),
        ({"fitness": "acuracy"}, "--fitness .*got 'acuracy'. Did you mean 'accuracy'"),
        ({"keep": "0"}, "--keep to be"),
        ({"genome": "binary", "granularity": "tensor"}, "with --genome binary, got --granularity tensor;"),
        ({"genome": "binary", "sigma_only": 4}, "with --genome binary, got --sigma-only 4;"),
        ({"genome": "integer", "distribution": "sign", "sigma": 0.5}, "at least 0.51 .* --distribution sign, got 0.5"),
        ({"genome": "integer", "distribution": "uniform", "sigma": 0.25}, "at least 0.3 with such weights"),
        ({"genome": "integer", "sigma_floor": 0.001}, "at least 0.125 .*, got 0.001: .* or --sigma-floor"),
        ({"genome": "integer", "step_size": "schedule", "sigma_schedule": "0:1,100:0.01"}, "at least 0.125 .*got 0.01"),
        ({"bounds": "1e-9:2e-9"}, "expected --bounds with room for two weights at least, got 1e-9:2e-9"),
        ({"genome": "binary", "bounds": "0:1e-9"}, "expected --bounds with room for two weights"),
        ({"bounds": "1:-1"}, "--bounds to be LOW:HIGH, a smaller and a larger number, such as -1:1, got '1:-1'"),
        ({"bounds": "0:nan"}, "--bounds to be LOW:HIGH"),
        ({"bounds": "1"}, "--bounds to be LOW:HIGH"),
        ({"weight_range": 100.0}, "--weight-range to be a power of two, such as 1024, got 100"),
        ({"at_bounds": "reflect"}, "expected --bounds with --at-bounds, got none at which a weight could be stopped"),
        ({"genome": "binary", "mutate": "layer"}, "expected --mutate flip with --genome binary, got layer"),
        ({"mutate": "flip"}, "expected --genome binary with --mutate flip, got real"),
        ({"genome": "binary", "crossover": "mean"}, "a crossover of whole weights with --genome binary, got mean"),
        ({"genome": "binary", "crossover": "genes-union"}, "the same in every individual with --crossover genes-union"),
        ({"genome": "binary", "sigma": 0.5}, "step sizes with --genome binary, got --sigma 0.5; .* --mutate-count"),
        ({"genome": "binary", "step_size": "log-normal"}, "expected --step-size fixed with --genome binary"),
        ({"genome": "integer", "bounds": "-1.5:2"}, "expected whole --bounds with --genome integer, got -1.5:2"),
        ({"genome": "integer", "weight_range": 64.0}, "expected --weight-range with --genome real, got whole numbers"),
        ({"genome": "integer", "sigma": 0.1}, "of at least 0.125 with such weights and --distribution normal, got 0.1"),
        ({"bounds": "-65:1"}, r"expected --bounds within \+-64, .*, got -65:1; .* raise --weight-range"),
        ({"bounds": "-1:1", "crossover": "genes-union"}, "expected no --bounds with --crossover genes-union, got -1:1"),
        ({"weight_range": 2.0**20, "sigma": 2**-16}, "expected step sizes of at least .* with such weights"),
        ({"genome": "integer", "model": "memory", "mutate": "memory-all"}, "expected real weights without --bounds"),
        ({"strategy": "eggroll", "bounds": "-1:1"}, "expected no --bounds with --strategy eggroll, got -1:1"),
        ({"keep": "-1"}, "--keep to be"),
        ({"keep": "some"}, "--keep to be"),
        ({"keep": "²"}, "--keep to be"),
    ],
)
def test_values_that_make_no_sense_together_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RunConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"parents": 4, "elites": 4},
        {"parents": 33, "children": 32, "elites": 1},
        {"parents": 33, "children": 1, "survival": "plus"},
        {"sigma": 0.5, "sigma_floor": 0.5, "sigma_ceiling": 0.5},
        {"keep": "1"},
        {"keep": "all"},
        {"bounds": "-64:64"},
        {"weight_range": 16.0, "sigma": 9.6e-7},
        {"genome": "integer", "distribution": "sign", "sigma": 0.6},
        {"bounds": "-500:500", "weight_range": 1024.0},
        {"genome": "integer", "bounds": "0:3"},
        {"genome": "binary", "bounds": "-0.1:0.1", "strategy": "random"},
    ],
)
def test_values_at_the_edge_of_sense_are_taken(values: dict[str, Any]) -> None:
    assert RunConfig(**values).to_dict().items() >= values.items()


@pytest.mark.parametrize(("text", "sizes"), [("", ()), ("128", (128,)), (" 256, 128 ", (256, 128))])
def test_hidden_sizes(text: str, sizes: tuple[int, ...]) -> None:
    assert hidden_sizes(text) == sizes


def test_a_configuration_cannot_be_altered() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().sigma = 1.0  # type: ignore[misc]


def test_an_unknown_hyperparameter_is_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="no hyperparameter is called 'sigm'. Did you mean 'sigma'"):
        RunConfig.from_dict({"sigm": 0.1})


def test_absent_names_take_their_defaults() -> None:
    assert RunConfig.from_dict({}) == RunConfig()


def test_changed_names_both_values() -> None:
    assert RunConfig().changed(RunConfig()) == {}
    assert RunConfig(sigma=0.5, seed=1).changed(RunConfig(sigma=0.25)) == {"sigma": (0.5, 0.25), "seed": (1, None)}


#: Some sentences of the small languages.
LANGUAGES = {
    "mutate": ["dense", "layer", "dense:0.8,layer:0.2", "dense,weights,low-rank"],
    "sigma_factors": ["1", "1,0.5"],
    "sigma_schedule": ["0:0.02", "0:0.02,1000:0.002"],
    "lr_schedule": ["constant", "decay:0.999", "0:1,100:0.1"],
    "optimizer": ["sgd", "adam(betas=(0.9, 0.99))"],
}


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Whatever a field takes by itself."""
    item, kind = FIELDS[name], field_type(name)
    low, high = item.metadata["low"], item.metadata["high"]
    strategy: st.SearchStrategy[Any] = st.text()
    if name in CHOICES:
        strategy = st.sampled_from(choices_of(name))
    elif name == "hidden":
        strategy = st.lists(st.integers(1, 4096), max_size=4).map(lambda sizes: ",".join(map(str, sizes)))
    elif name == "fitness":
        strategy = st.sampled_from(["accuracy", "wrong,cross-entropy", "improvement", "inherited:expected-accuracy"])
    elif name in LANGUAGES:
        strategy = st.sampled_from(LANGUAGES[name])
    elif name == "keep":
        strategy = st.sampled_from(["all", "log"]) | st.integers(1, 10**6).map(str)
    elif kind is int:
        strategy = st.integers(int(low or 0), None if high is None else int(high))
    elif kind is float:
        least, open_end = (low, False) if item.metadata["above"] is None else (item.metadata["above"], True)
        strategy = st.floats(least, high, exclude_min=open_end, allow_nan=False, allow_infinity=False)
    return st.none() | strategy if item.default is None else strategy


@st.composite
def configurations(draw: st.DrawFn) -> RunConfig:
    """Any configuration that makes sense; some fields at a time, as most values do not go together."""
    names = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=6, unique=True))
    values = {name: draw(values_of(name)) for name in names}
    if "strategy" not in values and EVOLUTION & values.keys():
        values["strategy"] = "openai-es"
    try:
        return RunConfig(**values)
    except UsageError:
        reject()


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(configurations())
def test_plain_data_and_json_bring_the_same_configuration_back(config: RunConfig) -> None:
    assert RunConfig.from_dict(config.to_dict()) == config
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_same_run_in_one_process_has_nothing_of_workers() -> None:
    plain = RunConfig(seed=3, chunk=2)
    cluster = {"executor": "ray", "address": "auto", "worker_cpus": 2.0, "worker_gpus": 0.5}
    both = RunConfig(seed=3, chunk=2, workers=2, price_per_hour=1.0, member_seconds=5.0, **cluster)
    assert both.in_one_process() == plain
