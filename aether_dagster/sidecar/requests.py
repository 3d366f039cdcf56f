"""Requests: what a URL asks for, and the answers by plain HTTP (spec 4, "Conversation")."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from aether_dagster.errors import JournalError, StateError, UnknownExecution
from aether_dagster.protocol import Close, Session, Subscription, Wanted
from aether_dagster.protocol.closing import BAD_MESSAGE
from aether_dagster.protocol.hub import Encode
from aether_dagster.protocol.session import read_since
from aether_dagster.sidecar import views
from aether_dagster.sidecar.connection import ClientConnection, Target
from aether_dagster.sidecar.metrics import CONTENT_TYPE
from aether_dagster.sidecar.security import TOKEN_PROTOCOL, Gate
from aether_dagster.sidecar.source import Source
from aether_dagster.sidecar.static_files import StaticFile
from aether_dagster.sidecar.stream import Stream
from aether_dagster.sidecar.streams import Streams

LATEST = "latest"
STATE_PROTOCOL = "aetherscript.state.v1"
EXTENDED_PROTOCOL = "aetherscript.state.v1+seq"
_PATH = re.compile(r"/executions(?:/([A-Za-z0-9_]{1,64}))?(?:/(pipeline|versions|attempts))?")
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_FASTEST = 1e6

Query = Mapping[str, Sequence[str]]


class BadRequest(Exception):
    """A parameter of a URL cannot be understood."""


class Requests:
    """Answers requests, or lets them become WebSockets.

    Args:
        gate: Who may connect.
        streams: What can be followed.
        source: Where past states are read.
        files: The page.
        encode: Makes text of a message.
        metrics: Gives the text of `/metrics`.
        unready: Says why the sidecar cannot serve just now; None where it can.
    """

    def __init__(
        self,
        gate: Gate,
        streams: Streams,
        source: Source,
        files: Mapping[str, StaticFile],
        encode: Encode,
        metrics: Callable[[], Awaitable[str]],
        unready: Callable[[], str | None],
    ):
        self._gate = gate
        self._streams = streams
        self._source = source
        self._files = files
        self._encode = encode
        self._metrics = metrics
        self._unready = unready

    async def process(self, connection: ServerConnection, request: Request) -> Response | None:
        """Returns the answer by HTTP; None where the request becomes a WebSocket."""
        assert isinstance(connection, ClientConnection)
        refusal = self._gate.refusal(request.headers)
        if refusal is not None:
            return self._text(HTTPStatus.FORBIDDEN, refusal)
        if getattr(request, "method", "GET") != "GET":
            return self._text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.")
        try:
            parts = urlsplit(request.path)
            query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=100)
        except ValueError:
            return self._text(HTTPStatus.BAD_REQUEST, "This URL cannot be read.")
        protocols = offered(request.headers)
        connection.authorized = self._gate.authorized(request.headers, protocols)
        match = _PATH.fullmatch(unquote(parts.path))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if match is None or match[2] is not None:
                return self._text(HTTPStatus.NOT_FOUND, "There is nothing to follow here.")
            connection.target = _target(match[1], query)
            return None
        if match is None:
            return await self._open(parts.path, query)
        if not connection.authorized:
            return self._unauthorized()
        return await self._state(match[1], match[2], query)

    def select(
        self,
        connection: ServerConnection,  # noqa: ARG002 - websockets' signature
        protocols: Sequence[Subprotocol],
    ) -> Subprotocol | None:
        """Chooses the subprotocol; a browser wants one of those which it offered."""
        for name in (EXTENDED_PROTOCOL, STATE_PROTOCOL):
            if name in protocols:
                return Subprotocol(name)
        return next((name for name in protocols if name.startswith(TOKEN_PROTOCOL)), None)

    async def _open(self, path: str, query: Query) -> Response:
        if path == "/healthz":
            return self._text(HTTPStatus.OK, "ok")
        if path == "/readyz":
            reason = self._unready()
            status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
            return self._text(status, reason or "ok")
        if path == "/metrics":
            return self._answer(HTTPStatus.OK, (await self._metrics()).encode(), CONTENT_TYPE)
        file = self._files.get(path)
        if file is None:
            return self._text(HTTPStatus.NOT_FOUND, "There is nothing here.")
        embedded = query.get("embed") == ["1"]
        return self._answer(HTTPStatus.OK, file.body, file.media_type, embedded=embedded)

    async def _state(self, name: str | None, view: str | None, query: Query) -> Response:
        try:
            answer = await self._read(name, view, query)
        except BadRequest as error:
            return self._text(HTTPStatus.BAD_REQUEST, str(error))
        except (UnknownExecution, StateError) as error:
            return self._text(HTTPStatus.NOT_FOUND, str(error))
        except JournalError as error:
            return self._text(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if answer is None:
            return self._text(HTTPStatus.NOT_FOUND, "There is no execution yet.")
        return self._answer(HTTPStatus.OK, answer.encode(), _JSON)

    async def _read(self, name: str | None, view: str | None, query: Query) -> str | None:
        if name == LATEST:
            name = self._streams.listing.newest
            if name is None:
                return None
        if view is not None:
            return await self._view(name, view, query)
        wanted = _wanted(query)
        if name is not None and "version" in query:
            return self._encode(
                await self._streams.read(
                    views.state_at, self._source, name, _version(query, "version")
                )
            )
        stream: Stream = self._streams.listing
        if name is not None:
            stream = await self._streams.execution(name)
        session = Session(Wanted(wanted.subscription), now=0.0)
        session.attach(stream.hub)
        return session.frame(0.0) or "{}"

    async def _view(self, name: str | None, view: str, query: Query) -> str:
        if name is None:
            raise BadRequest("Name an execution: /executions/ID/" + view + ".")
        read: dict[str, Callable[[Source, str], dict[str, Any]]] = {
            "pipeline": views.pipeline,
            "versions": views.versions,
            "attempts": partial(views.attempts, node=query.get("node", [None])[0]),
        }
        return self._encode(await self._streams.read(read[view], self._source, name))

    def _unauthorized(self) -> Response:
        response = self._text(
            HTTPStatus.UNAUTHORIZED, "Say the token: Authorization: Bearer <token>."
        )
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _text(self, status: HTTPStatus, text: str) -> Response:
        return self._answer(status, f"{text}\n".encode(), _TEXT)

    def _answer(
        self, status: HTTPStatus, body: bytes, media_type: str, *, embedded: bool = False
    ) -> Response:
        headers = Headers(self._gate.headers(embedded=embedded))
        headers["Content-Type"] = media_type
        headers["Content-Length"] = str(len(body))
        headers["Connection"] = "close"
        return Response(status.value, status.phrase, headers, body)


def offered(headers: Headers) -> list[str]:
    """Returns the subprotocols which a request offers."""
    lists = headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for names in lists for name in names.split(",")]


def _target(name: str | None, query: Query) -> Target:
    try:
        wanted = _wanted(query)
        single = name is not None and name != LATEST
        if not single and {"version", "replay", "from"} & query.keys():
            return Target(refusal=Close(BAD_MESSAGE, "version and replay are of one execution"))
        return Target(
            name,
            wanted,
            version=_version(query, "version") if "version" in query else None,
            replay=_speed(query["replay"][0]) if "replay" in query else None,
            start=_version(query, "from") if "from" in query else 0,
        )
    except BadRequest as error:
        return Target(refusal=Close(BAD_MESSAGE, str(error)))


def _wanted(query: Query) -> Wanted:
    masks = [path for text in query.get("mask", ()) for path in Subscription.split(text)]
    try:
        since = read_since(float(query["since"][0])) if "since" in query else None
        return Wanted(Subscription.parse(masks or ["*"]), since)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _version(query: Query, name: str) -> int:
    text = query[name][0]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest(f"{name} is the number of a version.")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not (math.isfinite(speed) and 0 < speed <= _FASTEST):
        raise BadRequest("replay is a speed above 0, for instance 10.")
    return speed
