"""Which worker scores which part of a cohort. No result depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from galab.evaluation.sources import Part


def parent_affinity(parts: Sequence[Part], decoded: Sequence[Collection[int]]) -> list[Counter[int]]:
    """For each part, how many parents of its members each worker has decoded; a worker without any is left out.

    Args:
        parts: of one cohort.
        decoded: ids of births, for each worker.
    """
    owners = {birth: worker for worker, births in enumerate(decoded) for birth in births}
    found: list[Counter[int]] = []
    for part in parts:
        bred = "parents" in (part.births.dtype.names or ())  # and not members around a centre
        parents = part.births["parents"].ravel().tolist() if bred and owners else []
        found.append(Counter(owners[parent] for parent in parents if parent in owners))
    return found


def assign_parts(affinity: Sequence[Mapping[int, int]], workers: int) -> list[int]:
    """A worker for each part; the numbers of parts of any two workers differ by at most one.

    No result depends on it. Without affinities each worker gets neighbouring parts, which share products and noise.

    Args:
        affinity: from :func:`parent_affinity`.
        workers: how many there are.

    Returns:
        The worker of each part.
    """
    count = len(affinity)
    least, more = divmod(count, workers)  # so many workers take one part more
    taken, chosen = [0] * workers, [-1] * count
    pairs = [
        (-liked, abs(part * workers // count - worker), part, worker)
        for part, owners in enumerate(affinity)
        for worker, liked in owners.items()
    ]
    for _, _, part, worker in sorted(pairs):
        if chosen[part] >= 0 or taken[worker] >= least + (more > 0):
            continue
        more -= taken[worker] == least
        taken[worker] += 1
        chosen[part] = worker
    places = []
    for worker in range(workers):
        extra = more > 0 and taken[worker] <= least
        more -= extra
        places += [worker] * (least + extra - taken[worker])
    left = iter(places)
    return [next(left) if worker < 0 else worker for worker in chosen]
