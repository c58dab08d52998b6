"""``mutation-fitness``: what single mutations do to a network's fitness, for several step sizes and distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, names_in, numbers_in, or_none
from galab.config.distribution import TABLE_HASHES
from galab.config.run_config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.contracts import Examples
from galab.errors import UsageError
from galab.genome.random import table
from galab.saved_runs.mutants import MutationScores
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import share_interval
from galab.stats.order_statistics import SAMPLES_PER_DRAW, Best, best_of, enough_for_interval, expected_best, wins
from galab.stats.plots import COLOURS, Band, plain, save, sheet

#: Mutations for each step size and distribution, and of single tensors, where neither is given.
_SAMPLES, _LAYER_SAMPLES = 1024, 256
#: More than these are not taken unasked.
_MOST_SAMPLES = 8192
#: In so many resamples another distribution has to be better.
_SURE = 0.975


def mutation_fitness(
    saved: SavedRun,
    progress: Progress,
    *,
    sigmas: str = "0.0003,0.001,0.003,0.01,0.03,0.1,0.3,1",
    distributions: str = "normal,laplace,uniform,sign",
    samples: int | None = None,
    layer_samples: int | None = None,
    children: int | None = None,
    generation: int | None = None,
    split: str = "train",
    examples: int = 10_000,
) -> Analysis:
    """What single mutations do to the fitness, by step size.

    Each mutation moves every weight of the champion, or of the centre, by sigma times noise; the same noise at every
    sigma, so that step sizes can be compared. Then tensors are mutated alone, with noise of the first distribution. The
    answer is that of the run's own distribution, where it is among them, and of the first one else.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        sigmas: step sizes, joined by commas.
        distributions: laws of the noise, of unit variance.
        samples: mutations for each step size and distribution; when absent 1,024, or the 8 per child that an interval
            takes, at most 8,192.
        layer_samples: mutations of each tensor alone for each step size, 0 for none; when absent 256, or as many more.
        children: of how many the best is expected; those of the run when absent.
        generation: whose champion; that of the checkpoint when absent.
        split: the data that it is measured on: train, validation or test.
        examples: the first so many of them; 0 is all.

    Raises:
        UsageError: a choice makes no sense, or there is no such generation or data.
    """
    steps = numbers_in(sigmas, "--sigmas")
    laws = names_in(distributions, "--distributions", list(TABLE_HASHES))
    count = children_of(saved.config) if children is None else at_least("--children", children, 1)
    taken = _taken("--samples", samples, _SAMPLES, count, 1)
    single = _taken("--layer-samples", layer_samples, _LAYER_SAMPLES, count, 0)
    probe = Probe(saved)
    weights, shown = probe.weights(generation), probe.examples(split, examples)
    changes, lethal, before, shared = _measured(probe, weights, shown, steps, laws, (taken, single), progress)
    if not np.isfinite(before):
        raise UsageError(
            f"expected a network with a finite fitness, got {before} on the {split} data; analyse another --generation"
        )
    when = saved.generation if generation is None else generation
    who = "centre" if "births" not in saved.state["strategy"] else "champion"
    data = f"{len(shown):,} {split} examples of {probe.task.name}"
    facts = {
        "generation": when, "member": who, "split": split, "examples": len(shown), "data": probe.task.description,
        "fitness": probe.base, "before": before, "samples": taken, "layer_samples": single, "children": count,
        "best_of": min(count, taken), "layer_best_of": min(count, single), "shared_products": shared,
    }  # fmt: skip
    # The sentence is of one distribution, chosen before anything is measured: the best of several would be flattered.
    law = saved.config.distribution if saved.config.distribution in laws else laws[0]
    return _analysis(steps, laws, changes, lethal, law, facts, f"{who} of generation {when:,}", data)


def _taken(option: str, given: int | None, usual: int, count: int, least: int) -> int:
    """How many mutations are taken: enough for an interval of the best of ``count``, unless that is too many."""
    if given is not None:
        return at_least(option, given, least)
    return max(usual, min(SAMPLES_PER_DRAW * count, _MOST_SAMPLES))


def _measured(
    probe: Probe, weights: NDArray[np.float32], shown: Examples, steps: list[float], laws: list[str],
    counts: tuple[int, int], progress: Progress,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]], float, bool]:  # fmt: skip
    """By distribution, and by tensor that is mutated alone: changes (S, N) and lethal (S,); the fitness before."""
    samples, single = counts
    mutants = MutationScores(probe)
    changes, lethal, before = {}, {}, np.nan
    for number, name in enumerate(laws):
        tell = partial(_part, progress, f"{name} mutations", 0.8 * number / len(laws), 0.8 / len(laws))
        found = mutants.changes(weights, table(name), steps, samples, shown, progress=tell)
        changes[name], lethal[name], before = found.change[0], found.lethal[0], found.before
    if single:
        names = probe.layout.names
        alone = mutants.changes(
            weights, table(laws[0]), steps, single, shown, subsets=[(name,) for name in names],
            progress=partial(_part, progress, "tensors alone", 0.8, 0.13),
        )  # fmt: skip
        changes |= dict(zip(names, alone.change, strict=True))
        lethal |= dict(zip(names, alone.lethal, strict=True))
    return changes, lethal, before, mutants.together


def _part(progress: Progress, what: str, start: float, width: float, share: float) -> None:
    progress(what, start + width * share)


def children_of(config: RunConfig) -> int:
    """Of how many a generation of a run is made: children, or members of a population."""
    return kind_of(config.strategy).members(config)


def _analysis(
    steps: list[float],
    laws: list[str],
    changes: dict[str, NDArray[np.float64]],
    lethal: dict[str, NDArray[np.int64]],
    law: str,
    facts: dict[str, Any],
    who: str,
    data: str,
) -> Analysis:
    """Numbers, rows, sentence and figure."""
    rows: list[dict[str, Any]] = []
    best, shares = dict[str, Best](), dict[str, Band]()
    x = np.array(steps)
    for name, change in changes.items():
        count = facts["best_of" if name in laws else "layer_best_of"]
        best[name] = best_of(change, count)
        hits = (change > 0).sum(axis=1)
        ends = np.array([share_interval(int(hit), change.shape[1]) for hit in hits])
        shares[name] = Band(name, x, hits / change.shape[1], ends[:, 0], ends[:, 1])
        rows += _rows(name, name in laws, steps, change, lethal[name], count, best[name], shares[name])
    bands = {name: Band(name, x, one.expected, one.low, one.high) for name, one in best.items()}
    paired = {name: or_none(wins(best[name], best[law])) for name in laws if name != law}
    values = {
        **facts,
        "best_sigma": {name: _best_sigma(steps, one) for name, one in best.items()},
        "distribution": law,
        "better_in_resamples": paired,
        "lethal": int(sum(one.sum() for one in lethal.values())),
    }
    title = (
        f"Change of fitness ({facts['fitness']}) by one mutation of the {who}, on {data}; {facts['samples']:,} "
        f"mutations for each step size, the same noise at all{_alone(facts)}. Bands: 95 % intervals"
        f"{_bandless(facts)}."
    )
    draw = partial(
        draw_effects,
        sigmas=steps,
        violins=[Violins(name, changes[name]) for name in laws],
        shares=[shares[name] for name in laws],
        best=[bands[name] for name in laws],
        layers=[bands[name] for name in changes if name not in laws],
        texts=(
            str(facts["fitness"]),
            f"expected best of {facts['best_of']:,}",
            f"expected best of {facts['layer_best_of']:,}",
            title,
        ),
    )
    sentence = _sentence(steps, best[law], shares[law], lethal[law], values, who, data)
    return Analysis(sentence, values, rows, draw)


def _alone(facts: dict[str, Any]) -> str:
    return f", {facts['layer_samples']:,} of each tensor alone" if facts["layer_samples"] else ", no tensors alone"


def _bandless(facts: dict[str, Any]) -> str:
    """Which of the expected bests have no interval."""
    pairs = ((facts["samples"], facts["best_of"]), (facts["layer_samples"], facts["layer_best_of"]))
    few = [f"{n:,} of {samples:,}" for samples, n in pairs if samples and not enough_for_interval(samples, n)]
    return f" (none of the best of {' and '.join(dict.fromkeys(few))}: too few mutations)" if few else ""


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
            "mean": or_none(known.mean() if known.size else np.nan),
            "std": or_none(known.std() if known.size else np.nan), "p05": or_none(quantiles[0]),
            "median": or_none(quantiles[1]), "p95": or_none(quantiles[2]),
            "expected_best": or_none(best.expected[at]), "expected_best_low": or_none(best.low[at]),
            "expected_best_high": or_none(best.high[at]),
        })  # fmt: skip
    return found


def _best_sigma(steps: list[float], best: Best) -> dict[str, float | None]:
    if best.winner < 0:
        return {"sigma": None, "low": None, "high": None, "expected_best": None}
    low, high = (None, None) if best.range is None else (steps[at] for at in best.range)
    return {
        "sigma": steps[best.winner], "low": low, "high": high,
        "expected_best": float(best.expected[best.winner]),
    }  # fmt: skip


def _sentence(
    steps: list[float], best: Best, share: Band, lethal: NDArray[np.int64], facts: dict[str, Any], who: str, data: str
) -> str:
    samples, count, law = facts["samples"], facts["best_of"], facts["distribution"]
    of = f"{samples:,} single mutations of the {who} for each of {len(steps)} step sizes, measured on {data}"
    if count < facts["children"]:
        of += f" (too few for the best of {facts['children']:,} children)"
    if best.winner < 0:
        return f"Of {of}, so many failed that the best of {count:,} is nothing to expect of {law} noise."
    at = best.winner
    around = (
        f"no interval: that takes {SAMPLES_PER_DRAW * count:,} mutations"
        if np.isnan(best.low[at])
        else f"95 % {best.low[at]:+.3g} to {best.high[at]:+.3g}"
    )
    ends = None if best.range is None else [format(steps[place], "g") for place in best.range]
    near = "" if ends is None else f" (best sigma of resamples {' to '.join(ends)})"
    return (
        f"Of {of}, the best of {count:,} is expected to change fitness ({facts['fitness']}, {facts['before']:.4g}) by "
        f"{best.expected[at]:+.3g} ({around}) at {law} noise of sigma {steps[at]:g}{near}, where "
        f"{share.middle[at]:.1%} ({share.low[at]:.1%} to {share.high[at]:.1%}) improve and {lethal[at]:,} are lethal"
        f"{_others(facts['better_in_resamples'])}."
    )


def _others(paired: dict[str, float | None]) -> str:
    """Whether another distribution is better, by resamples that share their noise."""
    known = {name: share for name, share in paired.items() if share is not None}
    if not known:
        return ""
    better = [f"{name} (in {share:.1%} of resamples)" for name, share in known.items() if share >= _SURE]
    if better:
        return f"; better is {' and '.join(better)}"
    return f"; nothing shows that {' or '.join(known)} is better"


#: Of a step between two sigmas, what all violins at one of them take together.
_ROOM = 0.84

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Violins:
    """What is drawn of one distribution.

    Attributes:
        label: its name.
        change: (S, N) changes of the fitness; NaN is not drawn.
    """

    label: str
    change: Floats


def draw_effects(
    path: Path,
    sigmas: Sequence[float],
    violins: Sequence[Violins],
    shares: Sequence[Band],
    best: Sequence[Band],
    layers: Sequence[Band],
    *,
    texts: tuple[str, str, str, str],
) -> None:
    """Draw violins above, and below shares, the expected best, and the expected best of single tensors.

    Args:
        path: the image to write; its suffix decides the format.
        sigmas: S step sizes.
        violins: one per distribution.
        shares: the share that improves, one per distribution.
        best: the expected best, one per distribution.
        layers: the expected best of mutations of one tensor; may be none.
        texts: what the fitness is called, what the best is of, the same of single tensors, and the title.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(13, 9)
    grid = figure.add_gridspec(2, 6, height_ratios=(1.15, 1))
    above = figure.add_subplot(grid[0, :])
    width = 2 if layers else 3
    below = [figure.add_subplot(grid[1, width * at : width * (at + 1)]) for at in range(6 // width)]
    fitness, what, alone, title = texts
    unit = linear_reach([one.change for one in violins])
    _draw_violins(above, sigmas, violins, unit)
    above.set_ylabel(f"change of fitness ({fitness})\n(logarithmic beyond ±{unit:.0e})")
    _draw_curves(below, (shares, best, layers), ("", what, alone))
    for axes in (above, *below):
        plain(axes)
    save(figure, path, title)


def _draw_curves(below: Sequence[Axes], groups: Sequence[Sequence[Band]], labels: Sequence[str]) -> None:
    """The shares, the expected best, and that of single tensors."""
    for axes, bands, label in zip(below, groups, labels, strict=False):
        for number, one in enumerate(bands):
            colour = COLOURS[number % len(COLOURS)]
            style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
            named = one.label if axes is not below[0] else None
            axes.plot(one.x, one.middle, color=colour, linestyle=style, marker="o", markersize=3, label=named)
            axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xscale("log")
        axes.set(xlabel="step size sigma", ylabel=label)
    below[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    below[0].set(ylabel="mutations that improve", ylim=(0, None))
    below[0].axhline(0.5, color="0.6", linewidth=0.8)
    for axes, bands, head in zip(below[1:], groups[1:], ("all weights", "one tensor alone"), strict=False):
        axes.set_yscale("symlog", linthresh=linear_reach([one.middle for one in bands]))
        axes.axhline(0.0, color="0.4", linewidth=0.8)
        axes.set_title(head, fontsize=9, loc="left")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=8)


def linear_reach(parts: Sequence[Floats]) -> float:
    """Up to which magnitude a scale is linear: a power of ten near the small values, so that most look different."""
    sizes = np.concatenate([np.abs(part[np.isfinite(part)]).ravel() for part in parts])
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return 1.0
    return float(10.0 ** np.floor(np.log10(np.quantile(sizes, 0.1))))


def _draw_violins(axes: Axes, sigmas: Sequence[float], violins: Sequence[Violins], unit: float) -> None:
    width = _ROOM / max(1, len(violins))
    for number, one in enumerate(violins):
        colour = COLOURS[number % len(COLOURS)]
        for place, row in enumerate(one.change):
            known = row[np.isfinite(row)]
            if not known.size:
                continue
            at = place - _ROOM / 2 + (number + 0.5) * width
            shown = scaled(known, unit)
            if np.ptp(shown) > 1e-6 and len(shown) > 2:
                drawn = axes.violinplot([shown], [at], widths=0.95 * width, showextrema=False, points=80)
                for body in drawn["bodies"]:  # type: ignore[attr-defined]  # a list, whatever the stubs say
                    body.set(facecolor=colour, edgecolor="none", alpha=0.55)
            low, middle, high = np.quantile(shown, [0.05, 0.5, 0.95])
            axes.plot([at, at], [low, high], color=colour, linewidth=1)
            axes.plot([at], [middle], marker="_", color="black", markersize=5)
            axes.plot([at], [shown.max()], marker=".", color=colour, markersize=4)
    axes.axhline(0.0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
    axes.set_xlim(-0.55, len(sigmas) - 0.45)
    axes.set_xlabel("step size sigma")
    farthest = max((np.nanmax(np.abs(one.change), initial=0.0) for one in violins), default=0.0)
    decades = max(0, round(np.floor(np.log10(max(farthest, unit) / unit))))
    skip = 1 + decades // 5
    sizes = [unit * 10.0**power for power in range(0, decades + 1, skip)]
    values = np.array([*(-size for size in reversed(sizes)), 0.0, *sizes])
    axes.set_yticks(scaled(values, unit), [f"{value:.0e}" if value else "0" for value in values])
    if farthest:
        every = scaled(np.concatenate([one.change.ravel() for one in violins]), unit)
        axes.set_ylim(min(-1.0, float(np.nanmin(every))) - 0.5, max(1.0, float(np.nanmax(every))) + 0.5)
    handles = [Patch(color=COLOURS[at % len(COLOURS)], label=one.label, alpha=0.7) for at, one in enumerate(violins)]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False,
        title="bar: 5 to 95 %\ndash: median\ndot: largest", title_fontsize=8,
    )  # fmt: skip


def scaled(values: Floats, unit: float) -> Floats:
    """Values on a scale that is linear up to ``unit`` and counts decades beyond it, the same for both signs."""
    size = np.abs(values) / unit
    return np.asarray(np.sign(values) * np.where(size <= 1, size, 1 + np.log10(np.maximum(size, 1))))
