"""Raw credentials: what looks like one, and where a document holds one (spec 2 and 7)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from aether_dagster.script.interpolation import Keys, Reference, parse

if TYPE_CHECKING:
    from aether_dagster.script.findings import Findings

_CREDENTIAL_NAME = re.compile(
    r"(^|_)(password|passwd|pwd|passphrase|secret|token|api_?key|access_?key|secret_?key"
    r"|private_?key|authorization|credentials?)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_REFERENCE = r"\$\{[^}]*\}"
_URL_PASSWORD = re.compile(
    rf"(?P<before>\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:{_REFERENCE}|[^:/?#@\s])*:)"
    rf"(?P<password>(?:{_REFERENCE}|[^@\s])+)@"
)
_URL_PARAMETER = re.compile(rf"(?<=[?&])([A-Za-z_-]+)=((?:{_REFERENCE}|[^&#\s])+)")
_INSTEAD = "a reference such as ${secrets.NAME}"


def is_credential_name(name: str) -> bool:
    """Tell whether a key of this name (`password`, `apiKey`, `X-Auth-Token` …) holds a secret."""
    folded = _CAMEL.sub("_", name).lower().replace("-", "_").replace(" ", "_")
    return _CREDENTIAL_NAME.search(folded) is not None


def url_passwords(text: str) -> Iterator[str]:
    """Yield the passwords which stand in URLs, references not resolved."""
    if "://" not in text:
        return
    for match in _URL_PASSWORD.finditer(text):
        # In `http://host:80/a@b` there is none; other schemes let a password hold a slash.
        bare = re.sub(_REFERENCE, "", match["password"])
        if not (match["scheme"].lower().startswith("http") and "/" in bare):
            yield match["password"]
    for match in _URL_PARAMETER.finditer(text):
        if is_credential_name(match[1]):
            yield match[2]


def without_password(text: str) -> str:
    """Return the text with `***` for each password in a URL."""
    for password in url_passwords(text):
        text = text.replace(f":{password}@", ":***@").replace(f"={password}", "=***")
    return text


def check_credentials(
    value: Any, path: Keys, variables: Mapping[str, Any], findings: "Findings"
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
    text: str, path: Keys, variables: Mapping[str, Any], findings: "Findings", what: str
) -> Iterator[str]:
    references = [part for part in parse(text)[0] if isinstance(part, Reference)]
    if not references and text:
        findings.add(path, f"{what} is a raw credential", expected=_INSTEAD)
    kept = [r for r in references if r.kind == "file" or (r.kind == "name" and r.name in variables)]
    if kept and len(kept) == len(references):
        source = "a file's text" if kept[0].kind == "file" else "a variable's value"
        message = f"{what} is taken from {kept[0].text}, and {source} is kept in the journal"
        findings.add(path, message, expected=_INSTEAD)
    for reference in references:
        if reference.kind == "name" and reference.name not in variables:
            yield reference.name
