"""npm-style version ranges (`^1.4.0`, `~1.2`, `>=1 <3 || 4.x`) and versions which fit them.

The library is imported where it is needed: most documents name no plugin.
"""

# nodesemver has no type annotations.
# pyright: reportUnknownMemberType=false

import re
from collections.abc import Iterable

_PEP_440 = re.compile(
    r"v?(?P<release>\d+(?:\.\d+)*)(?:[-_.]?(?P<kind>a|b|c|rc|alpha|beta|pre|preview|dev|post)"
    r"[-_.]?(?P<number>\d*))?(?P<rest>.*)",
    re.IGNORECASE,
)


def is_range(text: str) -> bool:
    """Tell whether `text` is a range which npm would understand."""
    import nodesemver

    try:
        nodesemver.make_range(text, loose=False)
    except ValueError:
        return False
    return True


def semantic_version(version: str) -> str | None:
    """Return a distribution's version as a semantic one (`1.4` → `1.4.0`), or None.

    Pre-releases of Python's kind become npm's (`2.0rc1` → `2.0.0-rc.1`).
    """
    import nodesemver

    semantic = nodesemver.valid(version, loose=False)
    if semantic is not None:
        return str(semantic)
    match = _PEP_440.fullmatch(version)
    if match is None:
        return None
    parts = [*match["release"].split("."), "0", "0"][:3]
    release = ".".join(str(int(part)) for part in parts)
    if match["kind"] and match["kind"].lower() != "post":
        return f"{release}-{match['kind'].lower()}.{int(match['number'] or 0)}"
    return release


def satisfying(versions: Iterable[str], range_: str) -> list[str]:
    """Return those of `versions`, as given, which are in the range."""
    import nodesemver

    fitting: list[str] = []
    for version in versions:
        semantic = semantic_version(version)
        if semantic is not None and nodesemver.satisfies(semantic, range_, loose=False):
            fitting.append(version)
    return fitting
