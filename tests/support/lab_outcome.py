"""What two equal runs have in common; for the tests and for the script that kills runs."""

from pathlib import Path
from typing import Any

import numpy as np

from galab.config import RunConfig, strategy_kinds
from galab.config.strategy_kinds import kind_of
from galab.saved_runs.verify import verify
from galab.storage import checkpoints, pickle_format
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder
from galab.training.checkpoint import records_of
from galab.training.log_fields import TIMING

#: Kinds of runs that have a state of their own in a checkpoint, or births of their own in the lineage.
ENGINE: dict[str, dict[str, Any]] = {
    "sexual": {"crossover": "row", "parents_per_child": 3},
    "genes": {"crossover": "genes-independent", "elites": 2},
    "union": {"crossover": "genes-union", "granularity": "tensor", "crossover_rate": 0.5},
    "islands": {"islands": 2, "parents": 4, "migrate_every": 2, "elites": 2},
    "parameter": {"granularity": "parameter", "step_size": "mean-reverting", "crossover": "parameter"},
    "momentum": {"mutate": "momentum,dense", "momentum": 0.9},
    "improvement": {"fitness": "improvement:wrong,cross-entropy"},
    "gesmr": {"step_size": "gesmr", "step_size_groups": 3},
    "history": {"step_size": "success-history", "crossover": "blend"},
    "shares": {"mutate": "dense:0.5,layer:0.5", "mutate_shares": "inherited"},
    "search": {"sigma_search": 3},
    "warm": {"sigma_only": 4, "elites": 1, "founders": "clones"},
    "inherited": {"fitness": "inherited", "elites": 1, "survival": "plus"},
    "low-rank": {"mutate": "low-rank", "crossover": "none", "mutate_rank": 2, "elites": 1, "batch": 0},
    "random": {"strategy": "random"},
    "binary": {
        "genome": "binary", "sigma": 0.02, "distribution": "normal", "mutate_count": 2, "crossover": "row",
    },
    "integer": {"genome": "integer", "bounds": "-8:7", "granularity": "tensor"},
    "integer-genes": {"genome": "integer", "crossover": "genes-union", "elites": 2},
    "reflect": {"bounds": "-0.2:0.2", "at_bounds": "reflect", "sigma": 0.1, "mutate": "dense,momentum"},
    "wide": {"weight_range": 1024.0, "mutate": "low-rank", "crossover": "none", "batch": 0},
    "frozen": {"freeze": "hidden.*", "crossover": "row"},
    "objectives": {"selection": "nsga2", "fitness": "cross-entropy,accuracy", "survival": "plus"},
    "mates": {"crossover": "mean", "mate": "dissimilar", "niche": "sharing", "parents": 4},
}

ENGINE["memories"] = {
    "model": "memory(heads=12, plastic=True, bank=random)", "hidden": None, "sigma": 0.5, "elites": 1,
    "mutate": "memory-activate:0.2,memory-delete:0.2,memory-replace(heads=unused):0.2,memory-perturb(heads=use):0.2,"
    "memory-target(heads=plasticity):0.2",
    "mutate_shares": "inherited", "fitness": "wrong+0.5*closeness,used",
}  # fmt: skip

_NOISE = {"population": 16, "sigma": 0.1, "shaping": "centred-ranks"}
#: Evolution strategies, each with more state than the last.
EVOLUTION: dict[str, dict[str, Any]] = {
    "openai-es": {"strategy": "openai-es", "optimizer": "sgd(momentum=0.9)", "lr": 0.5, **_NOISE},
    "openai-es-adam": {"strategy": "openai-es", "optimizer": "adam", "lr": 0.02, **_NOISE},
    "eggroll": {
        "strategy": "eggroll", "rank": 2, "optimizer": "adam", "lr": 0.02, "pairs": "auto", "groups": 2,
        "noise_reuse": 3, "sigma_schedule": "decay:0.98", "lr_schedule": "0:1,9:0.3", "weight_decay": 0.001,
        **_NOISE,
    },
    "muon": {"strategy": "eggroll", "optimizer": "muon", "lr": 0.02, "clip": 1.0, "pairs": "one-sided", **_NOISE},
    "fresh": {
        "strategy": "eggroll", "task": "linear-regression", "model": "linear", "hidden": None, "fitness": "loss",
        "optimizer": "nadam", "lr": 0.1, "population": 16, "lr_schedule": "cosine:0.1",
    },
}  # fmt: skip

#: Baselines that use gradients.
GRADIENTS: dict[str, dict[str, Any]] = {
    "sgd": {"strategy": "sgd", "lr_schedule": "0:1,9:0.3", "weight_decay": 0.001},
    "adam": {"strategy": "adam", "clip": 1.0, "optimizer": "adamw"},
    "fresh-sgd": {
        "strategy": "sgd", "task": "linear-regression", "model": "linear", "hidden": None, "fitness": "loss",
    },
}  # fmt: skip

#: Strategies over weight vectors, all of them.
VECTORS: dict[str, dict[str, Any]] = {
    name: {"strategy": "pgpe(momentum=0.8)" if name == "pgpe" else name, "population": 10, "sigma": 0.1}
    for name in strategy_kinds.VECTORS.strategies
}

#: Runs of whole numbers: one that carries the states of its members, and one that keeps nothing.
INTEGER: dict[str, dict[str, Any]] = {
    "egg": {
        "strategy": "integer-eggroll", "task": "counting(length=4)", "model": "egg(width=32)", "hidden": None,
        "population": 16, "batch": 4, "rank": 4, "precision": "auto",
    },
    "matrix": {
        "strategy": "integer-eggroll", "task": "linear-regression", "model": "integer-linear", "hidden": None,
        "population": 16, "batch": 8, "fast_fitness": "on", "noise_reuse": 2, "precision": "auto",
    },
}  # fmt: skip


#: Runs that are scored by episodes: with sex and second looks, and along directions.
EPISODES: dict[str, dict[str, Any]] = {
    "episodes": {
        "task": "cartpole", "episodes": 2, "batch": 2, "episode_steps": 30, "confirm": 2, "confirm_episodes": 3,
        "elites": 1, "sigma": 0.3, "precision": "auto", "normalize_observations": "on",
    },
    "episodes-eggroll": {
        "strategy": "eggroll", "task": "pendulum", "episodes": 2, "batch": 2, "episode_steps": 20,
        "optimizer": "adam", "lr": 0.05, "precision": "auto", **_NOISE,
    },
}  # fmt: skip

_CUT = {"episodes": 2, "batch": 2, "episode_steps": 20, "precision": "auto"}
#: The same in environments of other packages: with sex and second looks, and along directions.
OTHER_WORLDS: dict[str, dict[str, Any]] = {
    "lunar-lander": {
        "task": "gym(LunarLander-v3,validation=1,test=1)", "confirm": 2, "confirm_episodes": 2, "elites": 1,
        "crossover": "row", "sigma": 0.3, "normalize_observations": "on", "workers": 2, "chunk": 3, **_CUT,
    },
    "lunar-lander-eggroll": {
        "strategy": "eggroll", "task": "gym(LunarLander-v3,validation=1,test=1)", "optimizer": "adam", "lr": 0.05,
        **_CUT, **_NOISE,
    },
    "frostbite": {
        "task": "atari(frostbite,validation=1,test=1)", "hidden": None, "crossover": "row", "elites": 1, **_CUT,
    },
    "frostbite-eggroll": {
        "strategy": "eggroll", "task": "atari(frostbite,validation=1,test=1,sticky=0.25)", "hidden": None,
        "optimizer": "adam", "lr": 0.02, "workers": 2, "chunk": 4, **_CUT, **_NOISE | {"population": 8},
    },
}  # fmt: skip


_ASKED = {"task": "conciseness(prompts=sums)", "hidden": None, "batch": 0, "answer_tokens": 12}
#: Language models that answer prompts: with sex and adapters, and along directions of all weights.
PROMPTS: dict[str, dict[str, Any]] = {
    "prompts": {"adapt": "lora", "lora_rank": 1, "crossover": "row", "elites": 1, "sigma": 0.1, **_ASKED},
    "prompts-eggroll": {
        "strategy": "eggroll", "sigma_relative": "on", "fitness": "reward+8*accuracy+2*kl", "lr": 0.01, **_ASKED,
        **_NOISE | {"sigma": 0.3},
    },
}  # fmt: skip


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters with changes; a strategy with a centre gets none of the genetic algorithm's, others no noise."""
    kind = kind_of(changes.get("strategy", "ga"))
    foreign = () if kind.breeds else ("parents", "children", "elites")
    foreign += () if kind.breeds or kind.estimates else ("distribution",)
    foreign += ("sigma",) if kind.name == "integer" else ()
    return {name: value for name, value in base.items() if name not in foreign} | changes


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The log without what depends on the machine's speed."""
    lines = read_log(RunFolder(folder).log_path)
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def newest_state(folder: Path) -> dict[str, Any]:
    """The content of the newest checkpoint."""
    return pickle_format.load(checkpoints.list_checkpoints(folder / "checkpoints")[-1][1])


def generations_of(folder: Path) -> list[int]:
    """Generations that have a checkpoint."""
    return [generation for generation, _ in checkpoints.list_checkpoints(folder / "checkpoints")]


def comparable(value: Any) -> Any:
    """Plain data in which arrays are words, down to their last bit."""
    if isinstance(value, dict):
        return {str(name): comparable(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(part) for part in value]
    if isinstance(value, np.ndarray):
        return f"{value.dtype.descr} {value.shape} {value.tobytes().hex()}"
    return value


def outcome(folder: Path) -> dict[str, Any]:
    """All of a finished run that must be the same when it is repeated, interrupted or killed; ready for JSON."""
    run, state = RunFolder(folder), newest_state(folder)
    records = folder / records_of(RunConfig.from_saved(state["hyperparameters"]))[0]
    status = run.read_status()
    assert status is not None
    return {
        "log": log_of(folder),
        "state": status["state"],
        "champion": state["champion"],
        "result": status["result"],
        "totals": {name: value for name, value in state["totals"].items() if name not in TIMING},
        **{name: comparable(part) for name, part in state.items() if name not in ("hyperparameters", "totals", "log")},
        "records": records.read_bytes().hex(),
        "verified": all(verdict.good for verdict in verify(run)),
    }
