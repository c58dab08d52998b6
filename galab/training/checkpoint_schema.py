"""What a checkpoint of a run must be, to its leaves, before any of it is used.

A checkpoint is plain data, and whoever changes it can seal it again. So each value is checked for its type and its
range, and for agreement with the layout of the network, with the configuration and with the records of the run. What
the weights are is not told here: whether they follow from the seeds is what ``galab verify`` computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.distribution import TABLE_HASHES
from galab.config.parsing import parse_mutations
from galab.config.registry import CROSSOVERS, MUTATIONS, STEP_SIZE_RULES
from galab.config.strategy_kinds import kind_of
from galab.config.traits import is_gene_law, operators_of
from galab.genome.births import NO_PARENT, birth_dtype
from galab.genome.domain import REAL, domain_of
from galab.genome.initial import EVEN, GIVEN
from galab.genome.step_sizes import HIGHEST, LOWEST
from galab.genome.weights import Layout
from galab.models.normalized import SUMS
from galab.operators.step_size import PopulationStepSize
from galab.storage.leaves import MOST, Leaves
from galab.strategies.build import step_size_rule, steps_of

#: Generations and arguments of births are 32 bits wide.
_MOST_GENERATIONS = 2**31 - 1
#: Weights of a network.
_MOST_WEIGHTS = 2**40
#: Numbers in one example, and answers to it: a network is built for them.
_MOST_NUMBERS = 2**26
#: Rules and shares count in units of 2^-16 octave at the finest.
_FINEST = 2**32
#: Strategies of which it is known how many are born; a class of the user's may have more parents and other children.
_COUNTED = ("ga", "random")
_TOTALS = {"members", "evaluations", "seconds", "began", "warned", "spent", "worker_seconds"}
#: Further units of what evaluations took.
_SPENT = {"episodes", "frames", "tokens"}


def check_state(state: dict[str, Any], config: RunConfig, path: Path) -> None:
    """Refuse a checkpoint of a run that has a value out of place.

    Args:
        state: its content.
        config: the hyperparameters in it, decided.
        path: the file, for messages.

    Raises:
        CheckpointError: the sentence names the first such value by its place.
    """
    leaves = Leaves(path)
    generation = leaves.whole(state["generation"], "generation", 0, _MOST_GENERATIONS)
    layout = layout_in(leaves, state["layout"], config)
    _said(leaves, state)
    _totals(leaves, state["totals"], generation)
    _records(leaves, state["lineage"], config, generation)
    _buffers(leaves, state, layout, config)
    strategy = leaves.mapping(state["strategy"], "strategy")
    if leaves.whole(strategy.get("generation"), "strategy.generation", 0, _MOST_GENERATIONS) != generation:
        leaves.refuse("strategy.generation", f"generation {generation}", strategy["generation"])
    if kind_of(config.strategy).breeds:
        numbers = _individuals(leaves, state, config, layout)
    else:
        numbers = _centre(leaves, state, config, layout)
    _champion(leaves, state["champion"], numbers)


def check_records(state: dict[str, Any], config: RunConfig, records: NDArray[np.void], path: Path) -> None:
    """Refuse a checkpoint whose individuals are not those of the run's records.

    Args:
        state: its content, which passed :func:`check_state`.
        config: the hyperparameters in it.
        records: the rows of the lineage file, or of the score log, that it counts on.
        path: the file of the checkpoint, for messages.

    Raises:
        CheckpointError: rows are missing, or a birth is another one there.
    """
    leaves, wanted = Leaves(path), state["lineage"]["births"]
    if len(records) != wanted:
        leaves.refuse("lineage.births", f"at most {len(records)}, as many rows as there are beside it,", wanted)
    if not kind_of(config.strategy).breeds:
        if not np.array_equal(records["generation"], np.arange(1, wanted + 1)):
            leaves.refuse("lineage", "a score log of generations 1, 2, 3, ...", "others")
        return
    carried = [("strategy.births", state["strategy"]["births"])]
    carried += [(f"genes[{place}].births", one["births"]) for place, one in enumerate(state.get("genes") or ())]
    ids = np.concatenate([rows["id"] for _, rows in carried])
    found = records[np.isin(records["id"], ids)]
    known = {int(row["id"]): row.tobytes() for row in found}
    for key, rows in carried:
        for row in rows:
            if known.get(int(row["id"])) != row.tobytes():
                leaves.refuse(key, f"birth {row['id']} as the lineage has it", row.tolist())


def check_laws(leaves: Leaves, value: Any, config: RunConfig | None = None) -> tuple[Layout, int]:
    """Refuse rows ``[name, shape, law, scale]`` of founders that cannot be.

    Args:
        leaves: of the file.
        value: the rows.
        config: of the run, where it is known.

    Returns:
        The layout, and how many of its weights are given and not drawn.
    """
    laws = [leaves.listing(row, "laws", 4) for row in leaves.listing(value, "laws")]
    layout = layout_in(leaves, {"names": [law[0] for law in laws], "shapes": [law[1] for law in laws]}, config)
    for _, _, law, scale in laws:
        if type(law) is not str or law not in (GIVEN, EVEN, *TABLE_HASHES):
            leaves.refuse("laws", f"a law among {', '.join([GIVEN, EVEN, *TABLE_HASHES])}", law)
        if type(scale) is not float or not 0 <= scale <= 2**20:
            leaves.refuse("laws", "a scale as a finite number of 0 or more", scale)
    return layout, sum(math.prod(shape) for _, shape, law, _ in laws if law == GIVEN)


def check_founders(content: dict[str, Any], leaves: Leaves) -> None:
    """Refuse founders that have a value out of place.

    Args:
        content: of ``founders.pkl``, or what a genome says of its founders.
        leaves: of the file.

    Raises:
        CheckpointError: the sentence names the first such value by its place.
    """
    leaves.whole(content.get("run_key"), "run_key")
    _, given = check_laws(leaves, content.get("laws"))
    rows = leaves.array(content.get("given"), "given", (None, given), np.int32)
    if given and not len(rows):
        leaves.refuse("given", "a row of weights", rows)
    leaves.digest(content.get("sha256"), "sha256")
    for name, value in leaves.mapping(content.get("frozen", {}), "frozen").items():
        leaves.numbers(value, f"frozen.{name}")


def layout_in(leaves: Leaves, value: Any, config: RunConfig | None = None) -> Layout:
    """Names and shapes of parameters out of a file; how large they are is for the caller to judge.

    Args:
        leaves: of the file.
        value: ``{"names": [...], "shapes": [...]}``.
        config: says which numbers a weight may be; real ones when absent.
    """
    layout = leaves.mapping(value, "layout")
    names = [leaves.text(name, "layout.names") for name in leaves.listing(layout.get("names"), "layout.names")]
    given = leaves.listing(layout.get("shapes"), "layout.shapes", len(names))
    shapes = [leaves.shape(shape, "layout.shapes", _MOST_WEIGHTS) for shape in given]
    if not names or len(set(names)) < len(names):
        leaves.refuse("layout.names", "a name for each parameter, each once,", names)
    if sum(map(math.prod, shapes)) > _MOST_WEIGHTS:
        leaves.refuse("layout.shapes", f"at most {_MOST_WEIGHTS:,} weights", shapes)
    domain = REAL if config is None else domain_of(config.to_dict())
    return Layout(tuple(names), tuple(map(tuple, shapes)), domain)


def task_in(leaves: Leaves, value: Any) -> dict[str, Any]:
    """What a file says of a task and its data.

    Args:
        leaves: of the file.
        value: see :func:`galab.training.checkpoint.data_of`.
    """
    task = leaves.mapping(value, "task")
    leaves.text(task.get("description"), "task.description")
    leaves.text(task.get("fingerprint"), "task.fingerprint")
    shape = leaves.shape(task.get("input_shape"), "task.input_shape", _MOST_NUMBERS)
    if math.prod(shape) > _MOST_NUMBERS:
        leaves.refuse("task.input_shape", f"at most {_MOST_NUMBERS:,} numbers", shape)
    leaves.whole(task.get("outputs"), "task.outputs", 0, _MOST_NUMBERS)
    if "run_key" in task:
        leaves.whole(task["run_key"], "task.run_key")
    return task


def _said(leaves: Leaves, state: dict[str, Any]) -> None:
    """What the checkpoint says of where it comes from."""
    task_in(leaves, state["task"])
    for key in ("numeric_profile", "versions"):
        for name, value in leaves.mapping(state.get(key), key).items():
            leaves.scalar(value, f"{key}.{name}")
    for name in ("galab", "torch"):
        leaves.text(state["versions"].get(name), f"versions.{name}")
    leaves.digest(state["founders"], "founders")
    if "frozen" in state:
        leaves.digest(state["frozen"], "frozen")
    if "log" in state:
        log = leaves.mapping(state["log"], "log")
        leaves.whole(log.get("lines"), "log.lines")
        leaves.whole(log.get("bytes"), "log.bytes")
        leaves.digest(log.get("sha256"), "log.sha256")


def _totals(leaves: Leaves, totals: dict[str, Any], generation: int) -> None:
    if not {"members", "evaluations", "seconds"} <= set(totals) <= _TOTALS:
        leaves.refuse("totals", f"the entries {', '.join(sorted(_TOTALS))}", list(totals))
    for name in ("members", "evaluations"):
        leaves.whole(totals[name], f"totals.{name}")
    leaves.number(totals["seconds"], "totals.seconds", 0.0)
    leaves.number(totals.get("worker_seconds", 0.0), "totals.worker_seconds", 0.0)
    for name, value in leaves.mapping(totals.get("began", {}), "totals.began").items():
        leaves.whole(value, f"totals.began.{name}", 0, generation)
    for unit, number in leaves.mapping(totals.get("spent", {}), "totals.spent").items():
        if unit not in _SPENT:
            leaves.refuse("totals.spent", f"the entries {', '.join(sorted(_SPENT))}", unit)
        leaves.whole(number, f"totals.spent.{unit}")
    for word in leaves.listing(totals.get("warned", []), "totals.warned"):
        leaves.text(word, "totals.warned")


def _records(leaves: Leaves, lineage: dict[str, Any], config: RunConfig, generation: int) -> None:
    births = leaves.whole(lineage.get("births"), "lineage.births", 0, 2**48)
    leaves.digest(lineage.get("sha256"), "lineage.sha256")
    if not kind_of(config.strategy).breeds and births != generation:
        leaves.refuse("lineage.births", f"{generation}, one row of scores for each generation,", births)


def observation_sums_in(
    leaves: Leaves, config: RunConfig, task: dict[str, Any], buffers: dict[str, NDArray[Any]]
) -> None:
    """What a network that normalises observations knows of them.

    Args:
        leaves: of the file.
        config: of the run.
        task: see :func:`task_in`.
        buffers: of the network.
    """
    if config.normalize_observations != "on":
        return
    key, width = f"buffers.{SUMS}", math.prod(task["input_shape"])
    sums = leaves.array(buffers.get(SUMS), key, (1 + 2 * width,), np.float64)
    if not np.isfinite(sums).all() or sums[0] < 0 or (sums[1 + width :] < 0).any():
        leaves.refuse(key, "finite sums, those of squares not below 0,", sums)


def _buffers(leaves: Leaves, state: dict[str, Any], layout: Layout, config: RunConfig) -> None:
    for name, value in state["buffers"].items():
        leaves.numbers(value, f"buffers.{name}")
    observation_sums_in(leaves, config, state["task"], state["buffers"])
    known = {*layout.names, *state["buffers"]}
    for name, behind in state["state_names"].items():
        leaves.text(behind, f"state_names.{name}")
        if behind and behind not in known and "frozen" not in state:  # frozen parameters are named in the run folder
            leaves.refuse(f"state_names.{name}", "the name of a parameter or a buffer", behind)


def _champion(leaves: Leaves, champion: dict[str, Any], numbers: Sequence[int]) -> None:
    place = leaves.whole(champion.get("place"), "champion.place", 0, len(numbers) - 1)
    if leaves.whole(champion.get("id"), "champion.id") != numbers[place]:
        leaves.refuse("champion.id", f"{numbers[place]}, as its place says,", champion["id"])
    for name, value in leaves.mapping(champion.get("metrics"), "champion.metrics").items():
        leaves.number(value, f"champion.metrics.{name}", finite=False)


def _individuals(leaves: Leaves, state: dict[str, Any], config: RunConfig, layout: Layout) -> list[int]:
    """The parents of a genetic algorithm; their births."""
    strategy = state["strategy"]
    foreign = config.strategy not in _COUNTED
    next_id = leaves.whole(strategy.get("next_id"), "strategy.next_id")
    born = config.parents + state["generation"] * config.children
    if not foreign and not config.sigma_search and next_id != born:
        leaves.refuse("strategy.next_id", f"{born}, as there were so many births,", next_id)
    if state["lineage"]["births"] > next_id:
        leaves.refuse("lineage.births", f"at most {next_id}, as many as there were,", state["lineage"]["births"])
    births = _births(leaves, strategy.get("births"), "strategy.births", state, config)
    count = len(births)
    different = len(np.unique(births["id"]))  # a migrant is on two islands
    if not 1 <= count <= (MOST if foreign else config.parents) or different > state["lineage"]["births"]:
        leaves.refuse("strategy.births", f"from 1 to {config.parents} parents", count)
    weights = leaves.array(state["weights"], "weights", (count, layout.size), np.int32)
    if (domain := layout.domain).low is not None and not domain.allows(weights).all():
        leaves.refuse("weights", domain.shown, "another one")
    steps = steps_of(config, layout)
    if "log_sigma" in state or config.granularity != "global":  # which version 0.1.0 has in the births alone
        _step_sizes(leaves, state.get("log_sigma"), "log_sigma", count, steps.size)
    if "velocity" in state:
        leaves.array(state["velocity"], "velocity", (count, layout.size), np.int32)
        if not any(map(_may_remember, operators_of(config))):
            leaves.refuse("velocity", "nothing, as no mutation of the run has momentum,", state["velocity"])
    _genes(leaves, state, config, count, steps.size)
    _scores(leaves, strategy, config, count)
    _control(leaves, strategy, config, count)
    return [int(birth) for birth in births["id"]]


def _may_remember(mutation: str) -> bool:
    """Whether individuals may carry a velocity; classes of the user's are not loaded to read a file."""
    return not MUTATIONS.is_own(mutation) or bool(getattr(MUTATIONS.load(mutation), "remembers", False))


def _births(leaves: Leaves, value: Any, key: str, state: dict[str, Any], config: RunConfig) -> NDArray[np.void]:
    """Rows of births, each younger than its parents."""
    rows = leaves.array(value, key, (None,), birth_dtype(config.parents_per_child or 2))
    next_id = int(state["strategy"]["next_id"])
    leaves.within(rows["id"], f"{key}.id", 0, next_id - 1)
    leaves.within(rows["parents"], f"{key}.parents", NO_PARENT, next_id - 1)
    if (rows["parents"] >= rows["id"][:, None]).any():
        leaves.refuse(f"{key}.parents", "parents that are older than their child", "younger ones")
    leaves.within(rows["generation"], f"{key}.generation", 0, state["generation"])
    leaves.within(rows["log_sigma"], f"{key}.log_sigma", LOWEST, HIGHEST)
    leaves.within(rows["crossover"], f"{key}.crossover", 0, 1)
    leaves.within(rows["mutation"], f"{key}.mutation", 0, len(parse_mutations(config.mutate)))
    return rows


def _step_sizes(leaves: Leaves, value: Any, key: str, count: int | None, size: int) -> None:
    values = leaves.array(value, key, (count, size), np.int16)
    leaves.within(values, key, LOWEST, HIGHEST)


def _genes(leaves: Leaves, state: dict[str, Any], config: RunConfig, count: int, size: int) -> None:
    genes, own = state.get("genes"), config.crossover == "none" or CROSSOVERS.is_own(config.crossover)
    if own and not is_gene_law(config):
        if genes is not None:
            leaves.refuse("genes", "nothing, as the run has no gene law,", genes)
        return
    if genes is None and not own:
        return
    for place, one in enumerate(leaves.listing(genes, "genes", count)):
        key = f"genes[{place}]"
        carried = leaves.mapping(one, key)
        births = _births(leaves, carried.get("births"), f"{key}.births", state, config)
        if len(births):
            _step_sizes(leaves, carried.get("log_sigma"), f"{key}.log_sigma", len(births), size)
        elif leaves.numbers(carried.get("log_sigma"), f"{key}.log_sigma").size:
            leaves.refuse(f"{key}.log_sigma", "as many rows as there are births", carried["log_sigma"])


def _scores(leaves: Leaves, strategy: dict[str, Any], config: RunConfig, count: int) -> None:
    """What a genetic algorithm remembers of its parents' scores; most of it is younger than version 0.1.0."""
    leaves.array(strategy.get("parent_fitness"), "strategy.parent_fitness", (count,), np.float64)
    if "parent_score" in strategy:
        leaves.array(strategy["parent_score"], "strategy.parent_score", (count,), np.float64)
    if "islands" in strategy:
        islands = leaves.array(strategy["islands"], "strategy.islands", (count,), np.int64)
        leaves.within(islands, "strategy.islands", 0, config.islands - 1)
    for key in ("behaviour", "use", "further"):
        value = strategy.get(key)
        if value is not None and (len(leaves.numbers(value, f"strategy.{key}").shape) != 2 or len(value) != count):
            leaves.refuse(f"strategy.{key}", f"a row for each of {count} parents", value)
    if strategy.get("restart") is not None:
        leaves.whole(strategy["restart"], "strategy.restart", LOWEST, HIGHEST)


def _control(leaves: Leaves, strategy: dict[str, Any], config: RunConfig, count: int) -> None:
    """What the rule of the step size and the mixture of mutations remember."""
    control = leaves.mapping(strategy.get("control", {}), "strategy.control")
    if config.step_size and STEP_SIZE_RULES.is_own(config.step_size):  # a user's is not loaded to read a file
        rule = step_size_rule(config, config.seed or 0)
        template = rule.state_dict() if isinstance(rule, PopulationStepSize) else {}
        if set(control) != set(template):
            leaves.refuse("strategy.control", f"the entries {sorted(template)}", sorted(control))
        for name, like in template.items():
            key = f"strategy.control.{name}"
            if isinstance(like, list):
                for value in leaves.listing(control[name], key, len(like)):
                    leaves.whole(value, key, -_FINEST, _FINEST)
            elif abs(leaves.number(control[name], key)) > _FINEST:
                leaves.refuse(key, "a grid point of step sizes", control[name])
    shares = leaves.listing(strategy.get("shares", []), "strategy.shares")
    wanted = count if config.mutate_shares == "inherited" else 0
    for row in leaves.listing(shares, "strategy.shares", wanted):
        for value in leaves.listing(row, "strategy.shares", len(operators_of(config))):
            leaves.whole(value, "strategy.shares", -_FINEST, _FINEST)


def _centre(leaves: Leaves, state: dict[str, Any], config: RunConfig, layout: Layout) -> list[int]:
    """The centre of a strategy that has one; its number, which is its generation."""
    leaves.array(state["weights"], "weights", (1, layout.size), np.float32)
    kind, strategy, generation = kind_of(config.strategy), state["strategy"], int(state["generation"])
    if kind.estimates:
        for key in ("antithetic", "pairs_worth"):
            leaves.flag(strategy.get(key), f"strategy.{key}")
        for rank in leaves.listing(state.get("ranks"), "ranks", len(layout.names)):
            leaves.whole(rank, "ranks", 0, 0 if config.strategy == "openai-es" else config.rank)
        if state.get("even_to_odd", 0) is not None:
            leaves.number(state.get("even_to_odd"), "even_to_odd", finite=False)
    if kind.name == "integer":
        _integers(leaves, state, config)
    elif kind.estimates or kind.gradients:
        _optimizer(leaves, strategy.get("optimizer"), layout, generation)
    else:
        _vectors(leaves, leaves.mapping(strategy.get("vectors"), "strategy.vectors"), "strategy.vectors")
    return [generation]


def _integers(leaves: Leaves, state: dict[str, Any], config: RunConfig) -> None:
    """Weights in sixteenths, and the members' states, where they are kept."""
    scaled = state["weights"] * np.float32(16)
    if not (np.isfinite(scaled).all() and (np.abs(scaled) <= 127).all() and (scaled == np.rint(scaled)).all()):
        leaves.refuse("weights", "multiples of 1/16 within +-127/16", "others")
    if state.get("hidden") is not None:
        leaves.array(state["hidden"], "hidden", (config.population, None, None), np.int8)


def _optimizer(leaves: Leaves, value: Any, layout: Layout, generation: int) -> None:
    """What an optimiser of torch remembers of each tensor: numbers, and arrays that are no larger than it."""
    for shape, kept in zip(layout.shapes, leaves.listing(value, "strategy.optimizer", len(layout.names)), strict=True):
        for name, item in leaves.mapping(kept, "strategy.optimizer").items():
            key = f"strategy.optimizer.{name}"
            if item is None or isinstance(item, float | int):
                leaves.scalar(item, key)
            elif leaves.numbers(item, key).shape and not _fits(item.shape, shape):
                leaves.refuse(key, f"an array that fits shape {shape}", item)
            if name == "step" and np.ravel(item).tolist() != [generation]:
                leaves.refuse(key, f"{generation} steps", item)


def _fits(got: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array has the axes of a tensor, or one number for a whole axis."""
    return len(got) == len(shape) and all(one in (1, own) for one, own in zip(got, shape, strict=True))


def _vectors(leaves: Leaves, value: Any, key: str) -> None:
    """The state of a strategy over weight vectors: plain data; what it means the strategy alone can tell."""
    if isinstance(value, np.ndarray):
        leaves.numbers(value, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            _vectors(leaves, item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            _vectors(leaves, item, key)
    else:
        leaves.scalar(value, key)
