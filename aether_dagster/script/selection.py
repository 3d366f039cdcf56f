"""Which steps of a document are meant by a selection such as `+load, extract+` (spec 6)."""

import difflib
import re
from collections.abc import Mapping, Sequence

from aether_dagster.errors import SettingsError

_TERM = re.compile(r"(?:(?P<up>\d*)\+)?(?P<name>[A-Za-z_*][A-Za-z0-9_*-]*)(?:\+(?P<down>\d*))?")


def select_steps(
    selection: str, order: Sequence[str], dependencies: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Returns the steps which a selection means, in the order in which they would run.

    A selection is one or several terms between commas or spaces, and means all steps of any of
    them. A term is a step's id, `*` in it standing for any characters; `+` before it adds all
    steps upstream, `+` after it all steps downstream, and a number beside the `+` how many layers
    of them: `+load`, `extract+`, `1+transform_*+2`.

    Args:
        selection: The selection as it was written.
        order: All ids of the document in topological order.
        dependencies: What each step depends on.

    Raises:
        SettingsError: The selection cannot be read, or means no step.
    """
    terms = re.split(r"[,\s]+", selection.strip(", \t\n"))
    upstream = {step: tuple(dependencies.get(step, ())) for step in order}
    downstream = _reversed(upstream)
    chosen: set[str] = set()
    for term in terms:
        match = _TERM.fullmatch(term)
        if match is None:
            raise SettingsError(
                f"The selection {selection!r} cannot be read at {term!r}; write a step's id, with "
                "`+` before it for what is upstream or after it for what is downstream, and `,` "
                "between several."
            )
        steps = _named(match["name"], order)
        chosen.update(steps)
        if match["up"] is not None:
            chosen |= _reachable(steps, upstream, _layers(match["up"]))
        if match["down"] is not None:
            chosen |= _reachable(steps, downstream, _layers(match["down"]))
    return tuple(step for step in order if step in chosen)


def _named(name: str, order: Sequence[str]) -> list[str]:
    pattern = re.compile(".*".join(map(re.escape, name.split("*"))))
    steps = [step for step in order if pattern.fullmatch(step)]
    if not steps:
        near = difflib.get_close_matches(name, order, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the steps are {_some(order)}."
        raise SettingsError(f"The selection names {name!r}, which no step is called; {hint}")
    return steps


def _reachable(
    start: Sequence[str], edges: Mapping[str, Sequence[str]], layers: int | None
) -> set[str]:
    seen = set(start)
    frontier = set(start)
    while frontier and (layers is None or layers > 0):
        frontier = {step for below in frontier for step in edges[below]} - seen
        seen |= frontier
        layers = None if layers is None else layers - 1
    return seen


def _reversed(upstream: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    downstream: dict[str, list[str]] = {step: [] for step in upstream}
    for step, above in upstream.items():
        for dependency in above:
            downstream[dependency].append(step)
    return downstream


def _layers(text: str) -> int | None:
    return int(text) if text else None


def _some(order: Sequence[str]) -> str:
    shown = ", ".join(order[:10])
    return shown if len(order) <= 10 else f"{shown} and {len(order) - 10} more"
