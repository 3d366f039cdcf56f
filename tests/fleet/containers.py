"""Stands in for a container engine: takes its API's requests, and runs containers as processes.

What Kubernetes and Docker do with an image is not imitated. What Dagster asks of them is: the
command, the environment and the namespace of a step, whether it runs, and how it ended.
"""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fleet.hosts import Fleet, Host, end

_JOBS = re.compile(r"/apis/batch/v1/namespaces/([\w-]+)/jobs(?:/([\w-]+)/status)?")
_CONTAINERS = re.compile(r"/v[\d.]+/containers/([\w-]+)(?:/(\w+))?")
_VERSION = {"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Version": "27"}


@dataclass
class Container:
    """One container, which is a process on a host of its own."""

    name: str
    asked: dict[str, Any]
    host: Host
    words: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self.host.start(*self.words)

    @property
    def code(self) -> int | None:
        return None if self.process is None else self.process.poll()


@dataclass
class Engine:
    """The engine.

    Args:
        fleet: What its containers share.
        environ: What every container gets: in a cluster, by config maps and secrets.
        port: Where it listens.
    """

    fleet: Fleet
    environ: dict[str, str]
    port: int = 0
    containers: dict[str, Container] = field(default_factory=dict[str, Container])

    def make(self, name: str, asked: Any, words: list[str], more: dict[str, str]) -> Container:
        host = self.fleet.host(f"{name}-{len(self.containers)}", **self.environ)
        container = Container(name, asked, replace(host, more={**host.more, **more}), words)
        self.containers[name] = container
        return container

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        job, container = _JOBS.fullmatch(path), _CONTAINERS.fullmatch(path)
        if path.endswith("/version"):
            return 200, _VERSION
        if job is not None and method == "POST":
            pod = body["spec"]["template"]["spec"]["containers"][0]
            more = {v["name"]: v["value"] for v in pod["env"] if "value" in v}
            words = [*pod.get("command", ()), *pod.get("args", ())]
            more.pop("DAGSTER_HOME", None)  # where a config map would be mounted
            self.make(body["metadata"]["name"], body, words, more).start()
            return 201, body
        if job is not None and job[2] in self.containers:
            code = self.containers[job[2]].code
            status = {None: {"active": 1}, 0: {"succeeded": 1}}.get(code, {"failed": 1})
            return 200, {"metadata": {"name": job[2]}, "status": status}
        if container is not None and container[1] == "create":
            more = dict(variable.split("=", 1) for variable in body["Env"])
            name = query.partition("name=")[2].partition("&")[0]
            more.pop("DAGSTER_HOME", None)
            self.make(name, body, body["Cmd"], more)
            return 201, {"Id": name, "Warnings": []}
        if container is not None and container[1] in self.containers:
            return self._container(self.containers[container[1]], container[2])
        return 404, {"message": f"{path} is not there"}

    def _container(self, found: Container, action: str | None) -> tuple[int, Any]:
        if action == "start":
            found.start()
            return 204, None
        if action == "wait":
            assert found.process is not None
            return 200, {"StatusCode": found.process.wait(60)}
        status = "running" if found.process and found.code is None else "exited"
        return 200, {"Id": found.name, "Name": f"/{found.name}", "State": {"Status": status}}


@contextmanager
def engine(fleet: Fleet, environ: dict[str, str]) -> Iterator[Engine]:
    """An engine which listens on loopback, and ends its containers."""
    made = Engine(fleet, environ)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            body = json.loads(data) if data else None
            status, answer = made.answer(self.command, path, query, body)
            text = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()
            for container in made.containers.values():
                if container.process is not None:
                    end(container.process)
