"""Refuses raw credentials where a document should refer to a secret (spec 2)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from aether_dagster.script.credentials import is_credential_name, url_passwords
from aether_dagster.script.findings import Findings
from aether_dagster.script.interpolation import Keys, Reference, parse

_INSTEAD = "a reference such as ${secrets.NAME}"
_INSTEAD_LATER = "${secrets.NAME} where the value is used"


def check_credentials(
    value: Any, path: Keys, variables: Mapping[str, Any], findings: Findings
) -> Iterator[str]:
    """Note raw credentials in a part of a document.

    Args:
        value: The part.
        path: Its place.
        variables: The document's variables.
        findings: Takes the problems.

    Yields:
        The environment variables which stand where a credential does: their values are secret.
    """
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            where = (*path, key)
            if isinstance(item, (str, int, float)) and not isinstance(item, bool):
                if is_credential_name(key):
                    yield from _check(str(item), where, variables, findings, f"{key!r}")
                    continue
                if isinstance(item, str) and "://" in item:
                    for password in url_passwords(item):
                        yield from _check(password, where, variables, findings, "a URL's password")
            elif isinstance(item, (Mapping, list, tuple)):
                yield from check_credentials(item, where, variables, findings)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            where = (*path, index)
            if isinstance(item, str):
                for password in url_passwords(item):
                    yield from _check(password, where, variables, findings, "a URL's password")
            else:
                yield from check_credentials(item, where, variables, findings)


def _check(
    text: str, path: Keys, variables: Mapping[str, Any], findings: Findings, what: str
) -> Iterator[str]:
    references = [part for part in parse(text)[0] if isinstance(part, Reference)]
    if not references and text:
        findings.add(path, f"{what} is a raw credential", expected=_instead(path))
    kept = [r for r in references if r.kind == "file" or (r.kind == "name" and r.name in variables)]
    if kept and len(kept) == len(references):
        source = "a file's text" if kept[0].kind == "file" else "a variable's value"
        message = f"{what} is taken from {kept[0].text}, and {source} is kept in the journal"
        findings.add(path, message, expected=_instead(path))
    for reference in references:
        if reference.kind == "name" and reference.name not in variables:
            yield reference.name


def _instead(path: Keys) -> str:
    # Variables and the context are kept in the journal, so that no secret may enter them.
    return _INSTEAD_LATER if path[0] in ("variables", "context") else _INSTEAD
