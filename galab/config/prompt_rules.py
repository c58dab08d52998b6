"""Which hyperparameters go with a task of prompts, and which mean something there alone."""

from __future__ import annotations

from galab.config.fields import Fields
from galab.config.option import KINDS
from galab.config.parsing import PROMPTED, parse_fitness
from galab.config.registry import MODELS
from galab.config.rule import Rule, has_to_be_plain, means_something
from galab.config.traits import answers_prompts, is_low_rank, needs_behaviour


def _alone(name: str, kinds: tuple[str, ...] = KINDS) -> Rule:
    return means_something(name, answers_prompts, "prompts as {task}, such as conciseness", kinds)


def _graded_alone(config: Fields) -> bool:
    spec = parse_fitness(config.fitness)
    return spec.kind == "absolute" and set(spec.names) <= {*PROMPTED, "accuracy"}


def _is_language_model(model: str) -> bool:
    return model.partition("(")[0].strip() == "llm"


PROMPT_RULES = (
    _alone("adapt"),
    _alone("layers"),
    _alone("sigma_relative"),
    _alone("baseline", ("evolution", "vectors")),
    Rule(
        kinds=("evolution", "vectors"),
        fields=("baseline", "fitness"),
        refused=lambda c: c.baseline == "prompt" and answers_prompts(c) and c.fitness != "reward",
        sentence="expected {fitness:reward} with {baseline.given}, which compares rewards alone, got {fitness.value}; "
        "change one of them",
    ),
    _alone("find_sigma"),
    _alone("answer_tokens"),
    Rule(
        kinds=KINDS,
        fields=("lora_rank",),
        idle=lambda c: not answers_prompts(c) or c.adapt != "lora",
        sentence="expected {adapt:lora} with {lora_rank}, got {lora_rank.value} without it, where it changes nothing; "
        "drop it",
    ),
    _alone("generator"),
    *(
        Rule(
            kinds=KINDS,
            fields=(name,),
            idle=lambda c: not answers_prompts(c) or c.generator == "transformers",
            sentence=f"expected {{generator:sglang}} or {{generator:vllm}} with {{{name}}}, got {{{name}.value}} "
            "without a server, where it changes nothing; drop it",
        )
        for name in ("server", "adapter_folder")
    ),
    Rule(
        kinds=KINDS,
        fields=("generator", "adapt"),
        refused=lambda c: answers_prompts(c) and c.generator != "transformers" and c.adapt != "lora",
        sentence="expected {adapt:lora} with {generator.given}, whose server loads adapters, got {adapt.value}; change "
        "one of them",
    ),
    Rule(
        kinds=KINDS,
        fields=("server",),
        refused=lambda c: c.server is not None and not c.server.startswith(("http://", "https://")),
        sentence="expected a URL such as http://127.0.0.1:30000 as {server}, got {server.value}; correct it",
    ),
    Rule(
        kinds=KINDS,
        fields=("model", "task"),
        refused=lambda c: answers_prompts(c) != _is_language_model(c.model) and MODELS.is_own(c.model),
        sentence="expected a language model, {model:llm}, with prompts as {task}, and neither without the other, got "
        "{model.value} with {task.given}; change one of them",
    ),
    Rule(
        kinds=("gradients", "integer", "random"),
        fields=("task", "strategy"),
        refused=answers_prompts,
        sentence="expected a strategy that starts from given weights and needs scores alone with {task.given}, got "
        "{strategy.given}; use {strategy:eggroll} or {strategy:ga}",
    ),
    Rule(
        kinds=KINDS,
        fields=("fitness",),
        refused=lambda c: answers_prompts(c) and not _graded_alone(c),
        sentence="expected {fitness:reward} with {task.given}, or a sum such as reward+8*accuracy+2*kl, got "
        "{fitness.value}: an answer has a reward, may be right, and may differ from the base model's; drop it",
    ),
    Rule(
        kinds=KINDS,
        fields=("fitness",),
        refused=lambda c: not answers_prompts(c) and bool({*PROMPTED} & set(parse_fitness(c.fitness).names)),
        sentence="expected prompts as {task} with {fitness.given}, such as conciseness, got {task.value}; use another "
        "fitness",
    ),
    has_to_be_plain("precision", "bfloat16", answers_prompts, "{precision:float32}", "answers are computed in float32"),
    has_to_be_plain("compile", "on", answers_prompts, "{compile:off}", "language models are not compiled"),
    Rule(
        kinds=("genetic",),
        fields=("mutate", "selection", "niche", "diversity", "mate"),
        refused=lambda c: answers_prompts(c) and (c.selection == "lexicase" or needs_behaviour(c) or is_low_rank(c)),
        sentence="expected mutations that are formed, and a selection by rewards, with {task.given}, got "
        "{mutate.given}, or one that compares answers to examples; drop it",
    ),
    Rule(
        kinds=("evolution",),
        fields=("groups",),
        refused=lambda c: answers_prompts(c) and c.groups > 1,
        sentence="expected all members to answer the same prompts with {task.given}, got {groups.given}; drop it",
    ),
)
