"""The order of the steps: topological, ties in document order; cycles with their path."""

import heapq
from collections.abc import Mapping, Sequence


def topological_order(
    ids: Sequence[str], dependencies: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Order steps so that each comes after what it depends on.

    Args:
        ids: The steps in document order, which decides between those which could be next.
        dependencies: What each step depends on, all of it in `ids`.

    Returns:
        The order, without the steps in or below a cycle; and one path for each group of steps
        which depend on each other, such as `("a", "b", "a")`: a depends on b, b on a.
    """
    index = {step: position for position, step in enumerate(ids)}
    below: dict[str, list[str]] = {step: [] for step in ids}
    waiting: dict[str, int] = {}
    for step in ids:
        needed = set(dependencies.get(step, ()))
        waiting[step] = len(needed)
        for dependency in needed:
            below[dependency].append(step)
    ready = [index[step] for step in ids if not waiting[step]]
    order: list[str] = []
    while ready:
        step = ids[heapq.heappop(ready)]
        order.append(step)
        for dependent in below[step]:
            waiting[dependent] -= 1
            if not waiting[dependent]:
                heapq.heappush(ready, index[dependent])
    left = [step for step in ids if waiting[step]]
    return tuple(order), _cycles(left, dependencies)


def _cycles(
    steps: Sequence[str], dependencies: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], ...]:
    """Walk up the dependencies of `steps`, noting paths which come back to themselves."""
    among = set(steps)
    reported: set[str] = set()
    done: set[str] = set()
    cycles: list[tuple[str, ...]] = []
    for start in steps:
        if start in done:
            continue
        path = [start]
        place = {start: 0}
        pending = [iter(dependencies.get(start, ()))]
        while path:
            for dependency in pending[-1]:
                if dependency in place:
                    # One cycle of each tangle is enough to find it; all of them could be many.
                    if dependency not in reported and path[-1] not in reported:
                        cycles.append((*path[place[dependency] :], dependency))
                        reported.update(cycles[-1])
                elif dependency in among and dependency not in done:
                    place[dependency] = len(path)
                    path.append(dependency)
                    pending.append(iter(dependencies.get(dependency, ())))
                    break
            else:
                pending.pop()
                step = path.pop()
                del place[step]
                done.add(step)
    return tuple(_from_first(cycle, steps) for cycle in cycles)


def _from_first(cycle: tuple[str, ...], steps: Sequence[str]) -> tuple[str, ...]:
    ring = cycle[:-1]
    members = set(ring)
    first = ring.index(next(step for step in steps if step in members))
    ring = ring[first:] + ring[:first]
    return (*ring, ring[0])
