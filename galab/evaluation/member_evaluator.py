"""What scores members of a task: by examples, by episodes, or by answers to prompts."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from galab.config import RunConfig
from galab.config.parsing import parse_fitness
from galab.contracts import Task
from galab.errors import UsageError
from galab.evaluation.answer_servers import SERVERS
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.episode_evaluator import EpisodeEvaluator, EpisodePerturbedEvaluator, EpisodeRules
from galab.evaluation.es_evaluator import PerturbedEvaluator
from galab.evaluation.generators import Generator
from galab.evaluation.prompt_evaluator import PromptEvaluator
from galab.evaluation.server_generator import ServerGenerator
from galab.genome.weights import Layout
from galab.models.language_model import LanguageModel
from galab.operators.es_noise import Plan
from galab.tasks.episodes import EpisodeTask
from galab.tasks.prompts import PromptTask

#: Scores members by their weights.
MemberEvaluator = Evaluator | EpisodeEvaluator | PromptEvaluator
#: Scores perturbations of a centre.
CentreEvaluator = PerturbedEvaluator | EpisodePerturbedEvaluator | PromptEvaluator


def member_evaluator(
    config: RunConfig, module: nn.Module, layout: Layout, task: Task, *, chunk: int, precision: str | None = None,
    device: torch.device | None = None, final: bool = False, **options: Any,
) -> MemberEvaluator:  # fmt: skip
    """What scores members by their weights.

    Args:
        config: of the run.
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: what is learned.
        chunk: members that are scored at once.
        precision: of outputs; as configured when None.
        device: where the networks are computed; as configured when None.
        final: whether everything is measured, and not only what the fitness needs.
        options: further ones of :class:`galab.evaluation.dense_evaluator.Evaluator`.
    """
    device = device or torch.device(config.device)
    if isinstance(task, EpisodeTask):
        rules = EpisodeRules.of(config)
        return EpisodeEvaluator(module, layout, task, chunk=chunk, device=device, rules=rules)
    if isinstance(task, PromptTask):
        return prompt_evaluator(config, module, layout, task, chunk=chunk, device=device, final=final)
    precision = precision or config.precision
    return Evaluator(module, layout, task, chunk=chunk, precision=precision, device=device, **options)


def centre_evaluator(
    config: RunConfig, module: nn.Module, layout: Layout, task: Task, plan: Plan
) -> CentreEvaluator:
    """What scores perturbations of a centre.

    Args:
        config: of the run.
        module: the network.
        layout: where each parameter lies in a weight vector.
        task: what is learned.
        plan: what a direction is made of.
    """
    device = torch.device(config.device)
    if isinstance(task, EpisodeTask):
        rules = EpisodeRules.of(config)
        return EpisodePerturbedEvaluator(module, layout, task, chunk=config.chunk, device=device, rules=rules)
    if isinstance(task, PromptTask):
        return prompt_evaluator(config, module, layout, task, chunk=config.chunk, device=device)
    return PerturbedEvaluator(
        module, plan, task, chunk=config.chunk, batch=config.batch, precision=config.precision, device=device,
        compile=config.compile, pairs=config.pairs,
    )  # fmt: skip


def prompt_evaluator(
    config: RunConfig, module: nn.Module, layout: Layout, task: PromptTask, *, chunk: int,
    device: torch.device, final: bool = False,
) -> PromptEvaluator:  # fmt: skip
    """What scores members by their answers; see :func:`member_evaluator`.

    Raises:
        UsageError: the network is no language model, or its answers do not follow its weights.
    """
    if not isinstance(module, LanguageModel):
        raise UsageError(
            f"expected a language model to answer the prompts of '{task.name}', got {type(module).__name__}; use "
            "--model llm"
        )
    found = PromptEvaluator(
        module, layout, task, chunk=chunk, tokens=config.answer_tokens or 32, device=device,
        divergence=final or "kl" in parse_fitness(config.fitness).names, generator=_generator(config, module),
    )  # fmt: skip
    if not final:
        found.check_adapts()
    return found


def _generator(config: RunConfig, module: LanguageModel) -> Generator | None:
    """The server of a run, or None; one for all evaluators of a module, so that it is probed once."""
    if config.generator == "transformers":
        return None
    known = _SERVED.setdefault(module, {})
    key = (config.generator, config.server, config.answer_tokens, config.adapter_folder)
    if key not in known:
        server = SERVERS[config.generator](config.server)
        known[key] = ServerGenerator(module, server, config.answer_tokens or 32, config.adapter_folder)
    return known[key]


_SERVED: WeakKeyDictionary[LanguageModel, dict[tuple[Any, ...], ServerGenerator]] = WeakKeyDictionary()
