"""Names of everything that can be chosen: tasks, models, strategies, operators.

A registry is a table ``name -> "module:attribute"``; the module is imported when the name is used and not before, so
listing names costs nothing. Other packages add names through entry points (groups ``galab.tasks``, ``galab.models``,
...). A reference with a colon is taken as it stands: ``my_package.nets:Net`` or ``nets.py:Net``. Tasks, models and
mutations may be named with arguments, ``memory(heads=128)`` (:mod:`galab.config.parsing`).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType
from typing import Any

from galab.config.parsing import Call, parse_call
from galab.errors import UsageError, closest, pass_interrupts


class Registry:
    """A table of names for one kind of thing.

    Args:
        kind: the word for one entry in messages, such as ``"task"``.
        group: the entry-point group that plugins use, such as ``"galab.tasks"``.
        table: name to ``"module:attribute"``, or to that and a line that says what the entry is.
        listing: the command that prints the names.
        called: whether a name may have arguments in brackets.
    """

    def __init__(
        self, kind: str, group: str, table: Mapping[str, str | tuple[str, str]], listing: str, *, called: bool = False
    ) -> None:
        self.kind = kind
        self.called = called
        self.group = group
        self.listing = listing
        self._table = {name: row if isinstance(row, str) else row[0] for name, row in table.items()}
        self._summaries = {name: row[1] for name, row in table.items() if not isinstance(row, str)}
        self._kept: dict[str, Any] = {}

    @contextmanager
    def keeping(self, reference: str, value: Any) -> Iterator[None]:
        """Use an object where its reference is asked for, without importing it again, for a while."""
        self._kept[reference] = value
        try:
            yield
        finally:
            self._kept.pop(reference, None)

    def names(self) -> list[str]:
        """Every known name, built-in ones first, then those of installed plugins."""
        return list(self._table) + [name for name in self._plugins if name not in self._table]

    def parse(self, text: str) -> Call:
        """A name, and its arguments where names of this kind may have some.

        Raises:
            UsageError: the arguments cannot be read.
        """
        return parse_call(text, f"the {self.kind}", unnamed=self.kind == "task") if self.called else Call(text)

    def summary(self, name: str) -> str:
        """The line that says what an entry is, without importing it; empty for one of another package."""
        return self._summaries.get(name, "")

    def is_own(self, name: str) -> bool:
        """Whether a name is one of galab's own table."""
        return name in self._table

    def load(self, text: str) -> Any:
        """The object behind a name, whatever its arguments.

        Raises:
            UsageError: the name is unknown, or the module or attribute it refers to does not exist.
        """
        name = self.parse(text).name
        if name in self._kept:
            return self._kept[name]
        if ":" in name:
            return import_reference(name, self.kind)
        if name in self._table:
            return import_reference(self._table[name], self.kind)
        plugins = self._plugins
        if name in plugins:
            return plugins[name].load()
        raise UsageError(self.unknown(name))

    def check(self, text: str) -> None:
        """Raise the error of :meth:`load` for an unknown name, without importing anything."""
        name = self.parse(text).name
        # The built-in table first: looking for plugins reads the metadata of every installed package.
        if ":" not in name and name not in self._table and name not in self.names():
            raise UsageError(self.unknown(name))

    def unknown(self, name: str) -> str:
        """The sentence that answers an unknown name."""
        names = self.names()
        return f"no {self.kind} is called '{name}'.{closest(name, names)} `{self.listing}` lists the names."

    @functools.cached_property
    def _plugins(self) -> dict[str, Any]:
        return {entry.name: entry for entry in entry_points(group=self.group)}


def import_reference(reference: str, kind: str) -> Any:
    """Import ``module:attribute`` or ``file.py:attribute``."""
    module_name, _, attribute = reference.rpartition(":")
    if not module_name or not attribute or (module_name.startswith(".") and not module_name.endswith(".py")):
        raise UsageError(f"expected a {kind} as NAME, module:Name or FILE.py:Name, got '{reference}'")
    try:
        module = _from_file(Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{kind} '{reference}' needs the module '{error.name}', which is absent; install it, or check the name"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        known = [name for name in vars(module) if not name.startswith("_")]
        raise UsageError(
            f"{kind} '{reference}': {module_name} has no '{attribute}'.{closest(attribute, known)}"
        ) from None


class _SourceLoader(SourceFileLoader):
    """Reads no bytecode: it is stale where a file was changed within a second and kept its length."""

    def get_code(self, fullname: str) -> CodeType:
        """The file as it is now, compiled."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"expected a Python file at '{path}', found none; give a path relative to {Path.cwd()}")
    name = "galab_user_" + path.stem
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError:
        raise
    except BaseException as error:
        pass_interrupts(error)
        del sys.modules[name]
        raise UsageError(
            f"expected '{path}' to be a Python file that runs, got {type(error).__name__}: {error}; correct the file"
        ) from error
    return module


TASKS = Registry(
    "task",
    "galab.tasks",
    {
        "mnist": "galab.tasks.images:mnist",
        "fashion-mnist": "galab.tasks.images:fashion_mnist",
        "digits": "galab.tasks.images:digits",
        "linear-regression": "galab.tasks.regression:linear_regression",
        "memorize": "galab.tasks.synthetic:memorize",
        "memorize-images": "galab.tasks.synthetic:memorize_images",
        "count-ones": "galab.tasks.synthetic:count_ones",
        "shapes": "galab.tasks.synthetic:shapes",
        "mixed": "galab.tasks.synthetic:mixed",
        "csv": "galab.tasks.csv:csv",
        "tinyshakespeare": "galab.tasks.text:tinyshakespeare",
        "tinystories": "galab.tasks.text:tinystories",
        "bytes": "galab.tasks.text:bytes_of",
        "counting": "galab.tasks.text:counting",
        "plasticity": "galab.tasks.plasticity:plasticity",
        "cartpole": "galab.tasks.environments:cartpole",
        "acrobot": "galab.tasks.environments:acrobot",
        "pendulum": "galab.tasks.environments:pendulum",
        "mountain-car": "galab.tasks.environments:mountain_car",
        "mountain-car-continuous": "galab.tasks.environments:mountain_car_continuous",
        "gym": "galab.tasks.environments:gym",
        "atari": "galab.tasks.environments:atari",
        "conciseness": "galab.tasks.prompts:conciseness",
        "countdown": "galab.tasks.countdown:countdown",
        "prompts": "galab.tasks.prompts:prompts",
    },
    "galab tasks",
    called=True,
)
#: Tasks that are environments: members are scored by episodes, and not by examples.
ENVIRONMENTS = (
    "cartpole", "acrobot", "pendulum", "mountain-car", "mountain-car-continuous", "gym", "atari",
)  # fmt: skip


def is_environment(task: str) -> bool:
    """Whether a task, with its arguments, is an environment."""
    return task.partition("(")[0].strip() in ENVIRONMENTS


#: Tasks of prompts: a language model answers them, and is scored by its answers.
PROMPTS = ("conciseness", "countdown", "prompts")


def is_prompts(task: str) -> bool:
    """Whether a task, with its arguments, is one of prompts."""
    return task.partition("(")[0].strip() in PROMPTS


MODELS = Registry(
    "model",
    "galab.models",
    {
        "mlp": "galab.models.mlp:MLP",
        "conv": "galab.models.convolutional:ConvPolicy",
        "linear": "galab.models.mlp:Linear",
        "resnet": "galab.models.convolutional:ResNet",
        "memory": "galab.models.memory:Memory",
        "ensemble": "galab.models.ensemble:Ensemble",
        "hebbian": "galab.models.hebbian:Hebbian",
        "gru": "galab.models.sequence:GRU",
        "transformer": "galab.models.sequence:Transformer",
        "egg": "galab.models.egg:Egg",
        "policy": "galab.models.policy:Policy",
        "atari-policy": "galab.models.policy:AtariPolicy",
        "integer-linear": "galab.models.integer_linear:IntegerLinear",
        "llm": "galab.models.language_model:LanguageModel",
    },
    "galab models",
    called=True,
)
STRATEGIES = Registry(
    "strategy",
    "galab.strategies",
    {
        "ga": "galab.strategies.genetic:GeneticAlgorithm",
        "random": "galab.strategies.genetic:RandomSearch",
        "openai-es": "galab.strategies.evolution:EvolutionStrategy",
        "eggroll": "galab.strategies.evolution:EvolutionStrategy",
        "sgd": "galab.strategies.gradient_descent:GradientDescent",
        "adam": "galab.strategies.gradient_descent:GradientDescent",
        "snes": "galab.strategies.snes:SNES",
        "pgpe": "galab.strategies.pgpe:PGPE",
        "integer-eggroll": "galab.strategies.integer_eggroll:IntegerEggroll",
    },
    "galab options problem",
    called=True,
)
MUTATIONS = Registry(
    "mutation",
    "galab.mutations",
    {
        "dense": "galab.operators.mutation.dense:Dense",
        "layer": "galab.operators.mutation.one_layer:Layer",
        "weights": "galab.operators.mutation.few_weights:FewWeights",
        "flip": "galab.operators.mutation.few_weights:Flip",
        "row": "galab.operators.mutation.one_neuron:Row",
        "new-row": "galab.operators.mutation.one_neuron:NewRow",
        "low-rank": "galab.operators.mutation.low_rank:LowRank",
        "normalised": "galab.operators.mutation.scaled:Normalised",
        "relative": "galab.operators.mutation.scaled:Relative",
        "norm-preserving": "galab.operators.mutation.scaled:NormPreserving",
        "momentum": "galab.operators.mutation.momentum:Momentum",
        "net": "galab.operators.mutation.one_layer:Net",
        "memory-replace": "galab.operators.mutation.memory:Replace",
        "memory-perturb": "galab.operators.mutation.memory:Perturb",
        "memory-target": "galab.operators.mutation.memory:Target",
        "memory-activate": "galab.operators.mutation.memory:Activate",
        "memory-delete": "galab.operators.mutation.memory:Delete",
        "memory-all": "galab.operators.mutation.memory:All",
    },
    "galab options mutation",
    called=True,
)
CROSSOVERS = Registry(
    "crossover",
    "galab.crossovers",
    {
        "none": "galab.operators.crossover:Crossover",
        "parameter": "galab.operators.crossover:PerParameter",
        "row": "galab.operators.crossover:PerRow",
        "layer": "galab.operators.crossover:PerLayer",
        "blend": "galab.operators.crossover:Mean",
        "mean": "galab.operators.crossover:Mean",
        "genes-independent": "galab.operators.crossover:Independent",
        "genes-union": "galab.operators.crossover:Union",
        "genes-aligned": "galab.operators.crossover:Aligned",
    },
    "galab options population",
)
STEP_SIZE_RULES = Registry(
    "step-size rule",
    "galab.step_size_rules",
    {
        "fixed": "galab.operators.step_size:Fixed",
        "schedule": "galab.operators.step_size:Schedule",
        "three-point": "galab.operators.step_size:ThreePoint",
        "log-normal": "galab.operators.step_size:LogNormal",
        "mean-reverting": "galab.operators.step_size:MeanReverting",
        "one-fifth": "galab.operators.step_size:OneFifth",
        "samr": "galab.operators.step_size:SelfAdaptive",
        "gesmr": "galab.operators.step_size:GroupElite",
        "success-history": "galab.operators.step_size:SuccessHistory",
    },
    "galab options mutation",
)
SELECTIONS = Registry(
    "selection",
    "galab.selections",
    {
        "truncation": "galab.operators.selection:Truncation",
        "tournament": "galab.operators.selection:Tournament",
        "rank": "galab.operators.selection:LinearRanking",
        "proportional": "galab.operators.selection:Proportional",
        "lexicase": "galab.operators.selection:Lexicase",
        "nsga2": "galab.operators.nsga2:NSGA2",
    },
    "galab options population",
)
ANALYSES = Registry(
    "analysis",
    "galab.analyses",
    {
        "gradient-cosine": (
            "galab.analysis.gradient_cosine:gradient_cosine",
            "Where mutations, estimates and steps taken point.",
        ),
        "gradients": (
            "galab.analysis.gradients:gradients",
            "Which law an optimiser's updates follow; its export.",
        ),
        "memory": (
            "galab.analysis.memory:memory",
            "Who uses which memory, how safely, what room is left.",
        ),
        "landscape": (
            "galab.analysis.landscape:landscape",
            "Loss along lines, in a plane, and between champions.",
        ),
        "robustness": (
            "galab.analysis.robustness:robustness",
            "What random mutations break of what was learned.",
        ),
        "variance": (
            "galab.analysis.variance:variance",
            "Do the best starts end best, over many seeds?",
        ),
        "generation-size": (
            "galab.analysis.generation_size:generation_size",
            "What the best of n children gains, in all and each.",
        ),
        "meeting": (
            "galab.analysis.meeting:meeting",
            "How soon do two mutations of different individuals meet?",
        ),
        "neuron": (
            "galab.analysis.neuron:neuron",
            "What do the weights into a neuron look like?",
        ),
        "mutation-fitness": (
            "galab.analysis.mutation_fitness:mutation_fitness",
            "What single mutations do to the fitness, by step size.",
        ),
        "replay": (
            "galab.analysis.replay:replay",
            "Which mutations of a lineage helped, on all data.",
        ),
        "step-size": (
            "galab.analysis.step_size:step_size",
            "The run's step sizes against the best ones.",
        ),
    },
    "galab analyze --help",
)
