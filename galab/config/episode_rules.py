"""Which hyperparameters go with a task that is an environment, and which mean something there alone."""

from __future__ import annotations

from galab.config.fields import Fields
from galab.config.option import KINDS
from galab.config.parsing import EPISODIC, parse_fitness
from galab.config.rule import Rule, has_to_be_plain, means_something
from galab.config.traits import needs_behaviour, plays_episodes, scored_by_outputs


def _alone(name: str) -> Rule:
    return means_something(name, plays_episodes, "an environment as {task}, such as cartpole")


def _returns_alone(config: Fields) -> bool:
    spec = parse_fitness(config.fitness)
    return spec.kind == "absolute" and set(spec.names) == set(EPISODIC)


EPISODE_RULES = (
    _alone("episodes"),
    _alone("episode_steps"),
    _alone("act"),
    _alone("normalize_observations"),
    _alone("confirm"),
    Rule(
        kinds=("genetic",),
        fields=("confirm_episodes",),
        idle=lambda config: not config.confirm,
        sentence="expected {confirm} with {confirm_episodes}, got {confirm_episodes.value} without it, where it "
        "changes nothing; drop it",
    ),
    Rule(
        kinds=("gradients", "integer"),
        fields=("task", "strategy"),
        refused=plays_episodes,
        sentence="expected a strategy that needs scores alone with {task.given}, got {strategy.given}: a return has no "
        "gradient, and no whole numbers; use {strategy:ga} or {strategy:eggroll}",
    ),
    Rule(
        kinds=KINDS,
        fields=("batch",),
        refused=lambda c: plays_episodes(c) and c.batch != c.episodes,
        sentence="expected {episodes} with {task.given}, got {batch.given}: members are scored by episodes; use "
        "{episodes}",
    ),
    Rule(
        kinds=KINDS,
        fields=("fitness",),
        refused=lambda c: plays_episodes(c) and not _returns_alone(c),
        sentence="expected {fitness:return} with {task.given}, got {fitness.value}: an episode has a return, and "
        "nothing else; drop it",
    ),
    Rule(
        kinds=KINDS,
        fields=("fitness",),
        refused=lambda c: not plays_episodes(c) and "return" in parse_fitness(c.fitness).names,
        sentence="expected an environment as {task} with {fitness.given}, such as cartpole, got {task.value}; use "
        "another fitness",
    ),
    has_to_be_plain("precision", "bfloat16", plays_episodes, "{precision:float32}", "policies are computed in float32"),
    has_to_be_plain("compile", "on", plays_episodes, "{compile:off}", "policies are not compiled"),
    Rule(
        kinds=("genetic",),
        fields=("selection", "niche", "diversity", "mate"),
        refused=lambda c: plays_episodes(c) and (c.selection == "lexicase" or needs_behaviour(c)),
        sentence="expected a selection by returns with {task.given}, got one that compares answers to examples, which "
        "an environment has none of; drop it",
    ),
    Rule(
        kinds=KINDS,
        fields=("target",),
        refused=lambda c: c.target is not None and scored_by_outputs(c) and not 0 <= c.target <= 1,
        sentence="expected {target} between 0 and 1, a share of right answers, got {target.value}; correct it",
    ),
)
