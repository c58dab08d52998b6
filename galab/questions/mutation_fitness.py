"""What single mutations do to a saved network's fitness, for several step sizes and distributions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from galab.analysis.best_of import Best, best_of, expected_best, share_interval
from galab.analysis.effects_figure import Violins, draw_effects
from galab.analysis.figures import Band
from galab.distribution import TABLE_HASHES
from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard
from galab.questions.choices import at_least, names_in, numbers_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from galab.config import RunConfig
    from galab.contracts import Examples
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved


def mutation_fitness(
    saved: Saved,
    heard: Heard,
    *,
    sigmas: str = "0.0003,0.001,0.003,0.01,0.03,0.1,0.3,1",
    distributions: str = "normal,laplace,uniform,sign",
    samples: int = 1024,
    layer_samples: int = 256,
    children: int | None = None,
    generation: int | None = None,
    split: str = "train",
    examples: int = 10_000,
) -> Analysis:
    """What single mutations do to the fitness, by step size.

    Each mutation moves every weight of the champion, or of the centre, by sigma times noise; the same noise at every
    sigma, so that step sizes can be compared. Then tensors are mutated alone, with noise of the first distribution.

    Args:
        saved: the run.
        heard: hears how it comes along.
        sigmas: step sizes, joined by commas.
        distributions: laws of the noise, of unit variance.
        samples: mutations for each step size and distribution.
        layer_samples: mutations of each tensor alone for each step size; 0 for none.
        children: of how many the best is expected; those of the run when absent.
        generation: whose champion; that of the checkpoint when absent.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or there is no such generation or data.
    """
    from galab.lab.probe import Probe

    steps = numbers_in(sigmas, "--sigmas")
    laws = names_in(distributions, "--distributions", list(TABLE_HASHES))
    count = children_of(saved.config) if children is None else at_least("--children", children, 1)
    at_least("--samples", samples, count)
    single = at_least("--layer-samples", layer_samples, 0)
    probe = Probe(saved)
    weights, shown = probe.weights(generation), probe.examples(split, examples)
    changes, lethal, before, shared = _measured(probe, weights, shown, steps, laws, (samples, single, count), heard)
    if not np.isfinite(before):
        raise UsageError(
            f"expected a network with a finite fitness, got {before} on the {split} data; analyse another --generation"
        )
    when = saved.generation if generation is None else generation
    who = "centre" if "births" not in saved.state["strategy"] else "champion"
    data = f"{len(shown):,} {split} examples of {probe.task.name}"
    facts = {
        "generation": when, "member": who, "split": split, "examples": len(shown), "data": probe.task.description,
        "fitness": probe.base, "before": before, "samples": samples, "layer_samples": single, "best_of": count,
        "shared_products": shared,
    }  # fmt: skip
    return _told(steps, laws, changes, lethal, count, facts, f"{who} of generation {when:,}", data)


def _measured(
    probe: Probe, weights: NDArray[np.float32], shown: Examples, steps: list[float], laws: list[str],
    counts: tuple[int, int, int], heard: Heard,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]], float, bool]:  # fmt: skip
    """By distribution, and by tensor that is mutated alone: changes (S, N) and lethal (S,); the fitness before."""
    from galab.genome.noise import table
    from galab.lab.mutation_scores import MutationScores

    samples, single, count = counts
    mutants = MutationScores(probe)
    changes, lethal, before = {}, {}, np.nan
    for number, name in enumerate(laws):
        tell = partial(_part, heard, f"{name} mutations", 0.8 * number / len(laws), 0.8 / len(laws))
        found = mutants.changes(weights, table(name), steps, samples, shown, heard=tell)
        changes[name], lethal[name], before = found.change[0], found.lethal[0], found.before
    if single >= count:
        names = probe.layout.names
        alone = mutants.changes(
            weights, table(laws[0]), steps, single, shown, subsets=[(name,) for name in names],
            heard=partial(_part, heard, "tensors alone", 0.8, 0.13),
        )  # fmt: skip
        changes |= dict(zip(names, alone.change, strict=True))
        lethal |= dict(zip(names, alone.lethal, strict=True))
    return changes, lethal, before, mutants.together


def _part(heard: Heard, what: str, start: float, width: float, share: float) -> None:
    heard(what, start + width * share)


def children_of(config: RunConfig) -> int:
    """Of how many a generation of a run is made: children, or members of a population."""
    from galab.evolution_compatibility import is_evolution

    return int(config.population if is_evolution(config) else config.children)


def _told(
    steps: list[float],
    laws: list[str],
    changes: dict[str, NDArray[np.float64]],
    lethal: dict[str, NDArray[np.int64]],
    count: int,
    facts: dict[str, Any],
    who: str,
    data: str,
) -> Analysis:
    """Numbers, rows, sentence and figure."""
    rows: list[dict[str, Any]] = []
    best, shares = dict[str, Best](), dict[str, Band]()
    x = np.array(steps)
    for name, change in changes.items():
        best[name] = best_of(change, count)
        hits = (change > 0).sum(axis=1)
        ends = np.array([share_interval(int(hit), change.shape[1]) for hit in hits])
        shares[name] = Band(name, x, hits / change.shape[1], ends[:, 0], ends[:, 1])
        rows += _rows(name, name in laws, steps, change, lethal[name], count, best[name], shares[name])
    bands = {name: Band(name, x, one.expected, one.low, one.high) for name, one in best.items()}
    top = max(laws, key=lambda name: np.nan_to_num(best[name].expected, nan=-np.inf).max())
    values = {
        **facts,
        "best_sigma": {name: _best_sigma(steps, one) for name, one in best.items()},
        "best_distribution": top,
    }
    title = (
        f"Change of fitness ({facts['fitness']}) by one mutation of the {who}, on {data}; {facts['samples']:,} "
        f"mutations for each step size, the same noise at all. Bands: 95 % intervals."
    )
    draw = partial(
        draw_effects,
        sigmas=steps,
        violins=[Violins(name, changes[name]) for name in laws],
        shares=[shares[name] for name in laws],
        best=[bands[name] for name in laws],
        layers=[bands[name] for name in changes if name not in laws],
        texts=(str(facts["fitness"]), f"expected best of {count:,}", title),
    )
    return Analysis(_sentence(steps, best[top], shares[top], lethal, top, facts, who, data), values, rows, draw)


def _rows(
    name: str, everything: bool, steps: list[float], change: NDArray[np.float64], lethal: NDArray[np.int64],
    count: int, best: Best, share: Band,
) -> list[dict[str, Any]]:  # fmt: skip
    found = []
    for at, sigma in enumerate(steps):
        known = change[at][np.isfinite(change[at])]
        quantiles = np.quantile(known, [0.05, 0.5, 0.95]) if known.size else np.full(3, np.nan)
        found.append({
            "mutated": "all" if everything else name, "distribution": name if everything else "",
            "sigma": sigma, "mutations": change.shape[1], "lethal": int(lethal[at]),
            "failed": int(change.shape[1] - known.size - lethal[at]), "unchanged": int((known == 0).sum()),
            "improving": float(share.middle[at]), "improving_low": float(share.low[at]),
            "improving_high": float(share.high[at]), "best_improves": float(expected_best(change[at] > 0, count)),
            "mean": _or_none(known.mean() if known.size else np.nan),
            "std": _or_none(known.std() if known.size else np.nan), "p05": _or_none(quantiles[0]),
            "median": _or_none(quantiles[1]), "p95": _or_none(quantiles[2]),
            "expected_best": _or_none(best.expected[at]), "expected_best_low": _or_none(best.low[at]),
            "expected_best_high": _or_none(best.high[at]),
        })  # fmt: skip
    return found


def _best_sigma(steps: list[float], best: Best) -> dict[str, float | None]:
    if best.winner < 0:
        return {"sigma": None, "low": None, "high": None, "expected_best": None}
    low, high = np.quantile(best.winners, [0.025, 0.975], method="closest_observation")
    return {
        "sigma": steps[best.winner], "low": steps[int(low)], "high": steps[int(high)],
        "expected_best": float(best.expected[best.winner]),
    }  # fmt: skip


def _sentence(
    steps: list[float], best: Best, share: Band, lethal: dict[str, NDArray[np.int64]], law: str, facts: dict[str, Any],
    who: str, data: str,
) -> str:  # fmt: skip
    of = f"{facts['samples']:,} single mutations of the {who} for each of {len(steps)} step sizes, measured on {data}"
    if best.winner < 0:
        return f"Of {of}, so many failed that the best of {facts['best_of']:,} is nothing to expect."
    at, low, high = best.winner, *np.quantile(best.winners, [0.025, 0.975], method="closest_observation")
    dead = int(sum(one.sum() for one in lethal.values()))
    return (
        f"Of {of}, the best of {facts['best_of']:,} is expected to change fitness ({facts['fitness']}, "
        f"{facts['before']:.4g}) by {best.expected[at]:+.3g} (95 % {best.low[at]:+.3g} to {best.high[at]:+.3g}) at "
        f"{law} noise of sigma {steps[at]:g} (best sigma of resamples {steps[int(low)]:g} to {steps[int(high)]:g}), "
        f"where {share.middle[at]:.1%} ({share.low[at]:.1%} to {share.high[at]:.1%}) improve; {dead:,} were lethal."
    )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
