"""The step type `http/request` (spec 2)."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext

MOST_BYTES = 67_108_864
SHOWN_IN_ERRORS = 500
HIDDEN_HEADERS = frozenset({"set-cookie", "authorization", "proxy-authorization"})


def request(args: Mapping[str, Any], context: StepContext) -> Any:
    """Make one HTTP request and give what came back.

    Redirects are followed, up to 20, unless `follow_redirects` is false; credentials are not sent
    on to another host. A body of more than 64 MiB is refused.

    Returns:
        By `output`: `{"status", "headers", "body"}` (header names in lower case, cookies hidden),
        or the body alone as JSON, text or bytes.

    Raises:
        StepFailed: There is no answer (its type is httpx's exception), or its status is 400 or
            above. Neither user, password nor query of the URL is in the message.
    """
    try:
        import httpx
    except ModuleNotFoundError:
        message = "http/request needs httpx: install aether-dagster[http]."
        raise StepFailed("ModuleNotFoundError", message, "") from None

    url, headers, auth = _target(args, context)
    shown = str(args["method"]).upper()
    try:
        shown += f" {_shown(httpx.URL(url))}"
        with (
            httpx.Client(
                verify=args["verify"],
                timeout=args["timeout"],
                follow_redirects=args["follow_redirects"],
            ) as client,
            client.stream(
                args["method"].upper(),
                url,
                params=args["params"] or None,
                headers=headers,
                auth=auth,
                json=args["json"],
                data=args["data"],
                content=args["content"],
            ) as response,
        ):
            body = _body(response, shown)
    except httpx.InvalidURL:
        raise StepFailed("InvalidURL", "The URL of http/request cannot be read.", "") from None
    except httpx.UnsupportedProtocol:
        message = "The URL of http/request must begin with http:// or https://."
        raise StepFailed("UnsupportedProtocol", message, "") from None
    except httpx.TimeoutException as error:
        message = f"{shown} was not answered within {args['timeout']:g} s."
        raise StepFailed(type(error).__name__, message, "") from None
    except httpx.HTTPError as error:
        raise StepFailed(type(error).__name__, f"{shown} failed: {_reason(error)}", "") from None
    text_encoding = response.encoding or "utf-8"
    if args["raise_for_status"] and response.status_code >= 400:
        text = _text(body[:SHOWN_IN_ERRORS], text_encoding)
        message = f"{shown} was answered with {response.status_code} {response.reason_phrase}."
        raise StepFailed("HTTPStatusError", message + (f" It says: {text}" if text else ""), "")
    return _output(args["output"], response, body, text_encoding)


def _target(args: Mapping[str, Any], context: StepContext) -> tuple[str, dict[str, str], Any]:
    url: str = args["url"]
    headers: dict[str, str] = {}
    if args["connector"] is not None:
        settings = context.connection(args["connector"])
        if settings["type"] != "http" or not settings.get("url"):
            raise StepFailed(
                "InvalidConnector",
                f"The connector {args['connector']!r} is of type {settings['type']!r}; "
                "http/request needs one of type 'http' with a 'url'.",
                "",
            )
        base = settings["url"]
        url = urljoin(base if base.endswith("/") else f"{base}/", url.removeprefix("/"))
        # A connector's headers may hold its credentials, which are for its own host alone.
        if urlsplit(url)[:2] == urlsplit(base)[:2]:
            headers.update(settings.get("headers") or {})
    headers |= {name: str(value) for name, value in args["headers"].items()}
    auth = args["auth"]
    if auth and "token" in auth:
        headers["Authorization"] = f"Bearer {auth['token']}"
        return url, headers, None
    return url, headers, (str(auth["username"]), str(auth["password"])) if auth else None


def _shown(url: Any) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}{url.path}{'?…' if url.query else ''}"


def _reason(error: Exception) -> str:
    # httpx puts the URL into some of its texts; what went wrong below it never holds one.
    cause = error.__cause__ or error
    text = str(cause)
    return f"{type(error).__name__}." if "://" in text or not text else f"{text}."


def _body(response: Any, shown: str) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            message = f"{shown} gave more than {MOST_BYTES} bytes."
            raise StepFailed("ResponseTooLarge", message, "")
    return bytes(body)


def _output(form: str, response: Any, body: bytes, encoding: str) -> Any:
    if form == "bytes":
        return body
    if form == "text":
        return _text(body, encoding)
    if form == "json":
        return _json(body)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    return {
        "status": response.status_code,
        "headers": {
            name: "***" if name in HIDDEN_HEADERS else value
            for name, value in response.headers.items()
        },
        "body": _json(body) if is_json and body else _text(body, encoding),
    }


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        message = f"The answer is not JSON: {error}. It begins {body[:80]!r}."
        raise StepFailed("JSONDecodeError", message, "") from error


def _text(body: bytes, encoding: str) -> str:
    try:
        return body.decode(encoding, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
