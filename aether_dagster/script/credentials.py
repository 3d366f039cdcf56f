"""What looks like a credential: names of keys, and passwords in URLs (spec 2 and 7)."""

import re
from collections.abc import Iterator

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
