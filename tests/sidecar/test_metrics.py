"""What a monitoring system asks a sidecar, read with Prometheus' own parser."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import HookCursor
from tests.journal.builders import initialization, outcome, report, reserve
from tests.postgres import PostgresServer
from tests.sidecar.running import Follower, Running, sidecar

HOOK = 'slack.Notifier"\\'


def scrape(running: Running, get: Callable[..., Any]) -> dict[str, Metric]:
    response = get(running, "/metrics", raw=True, token=None)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(response.text))
    assert all(family.documentation for family in families)
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is told twice"
    return dict(zip(names, families, strict=True))


def by(family: Metric, label: str) -> dict[str, float]:
    return {found.labels[label]: found.value for found in family.samples}


def value(family: Metric) -> float:
    (found,) = family.samples
    return found.value


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Journal, str, Running]]:
    """A sidecar on executions which ended, one which goes on, and a hook which is behind."""
    with Journal.open(f"sqlite:///{tmp_path}/state.db") as journal:
        for status in ("succeeded", "succeeded", "failed"):
            name = reserve(journal).pipeline_id
            journal.append(name, [initialization(name, "load")])
            journal.append(name, [report(status)])
        name = reserve(journal).pipeline_id
        journal.append(name, [initialization(name, "load", "plot", "print")])
        journal.outbox.register([HookCursor(name, HOOK, "Slack@1.0.0", "hooks", version=0)])
        with sidecar(journal.url, tmp_path) as running:
            yield journal, name, running


def test_a_scrape_tells_executions_nodes_latencies_clients_and_hooks_which_are_behind(
    watched: tuple[Journal, str, Running], get: Callable[..., Any]
) -> None:
    journal, name, running = watched

    async def follow() -> dict[str, Metric]:
        client = Follower()
        async with running.connected(f"/executions/{name}") as connection:
            await client.until(connection, lambda state: "nodes" in state)
            journal.append(name, [outcome("start", "load", 1, "executing")])
            executing = lambda state: state["nodes"]["load"]["status"] == "executing"  # noqa: E731
            await client.until(connection, executing)
            return await asyncio.to_thread(scrape, running, get)

    told = asyncio.run(follow())
    assert by(told["aetherscript_executions"], "status") == {
        "pending": 0,
        "executing": 1,
        "succeeded": 2,
        "failed": 1,
        "cancelled": 0,
        "refused": 0,
    }
    assert by(told["aetherscript_nodes"], "status") == {
        "pending": 2,
        "executing": 1,
        "succeeded": 0,
        "failed": 0,
        "retrying": 0,
    }
    assert value(told["aetherscript_sidecar_clients"]) == 1
    assert value(told["aetherscript_up"]) == 1
    assert by(told["aetherscript_hook_waiting_executions"], "hook") == {HOOK: 1}
    committed = journal.versions(name)[0].committed_at
    lag = by(told["aetherscript_hook_lag_seconds"], "hook")[HOOK]
    assert 0 < lag <= time.time() - committed
    for family in ("aetherscript_commit_seen_seconds", "aetherscript_commit_sent_seconds"):
        samples = {found.name.removeprefix(family): found for found in told[family].samples}
        buckets = [found for found in told[family].samples if found.name.endswith("_bucket")]
        counts = [found.value for found in buckets]
        assert counts == sorted(counts), "buckets are cumulative"
        assert buckets[-1].labels["le"] == "+Inf"
        assert "0.2" in {found.labels["le"] for found in buckets}, "the bound of the specification"
        assert counts[-1] == samples["_count"].value == 1
        assert 0 < samples["_sum"].value < 60


def test_who_asks_often_has_the_journal_counted_seldom(
    watched: tuple[Journal, str, Running], get: Callable[..., Any]
) -> None:
    journal, name, running = watched
    before = scrape(running, get)["aetherscript_executions"]
    journal.append(name, [report()])
    for _ in range(20):
        after = scrape(running, get)["aetherscript_executions"]
    if by(after, "status") == by(before, "status"):  # else five seconds went by meanwhile
        give_up = time.monotonic() + 60
        while by(after, "status")["succeeded"] != 3:
            assert time.monotonic() < give_up
            time.sleep(0.5)
            after = scrape(running, get)["aetherscript_executions"]
    assert by(after, "status")["executing"] == 0


@pytest.mark.postgres
def test_without_its_database_it_lives_and_is_not_ready(
    tmp_path: Path, postgres_server: PostgresServer, get: Callable[..., Any]
) -> None:
    postgres_server.command("CREATE DATABASE watched")
    with (
        Journal.open(postgres_server.url("watched")) as journal,
        sidecar(journal.url, tmp_path) as running,
    ):
        assert get(running, "/readyz", raw=True, token=None).text == "ok\n"
        postgres_server.command("ALTER DATABASE watched WITH ALLOW_CONNECTIONS false")
        postgres_server.command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'watched'"
        )
        _until_ready(running, get, 503)
        answer = get(running, "/readyz", raw=True, token=None).text
        assert answer.startswith("The journal could not be read for ")
        assert get(running, "/healthz", raw=True, token=None).text == "ok\n"
        give_up = time.monotonic() + 30
        while "aetherscript_executions" in (told := scrape(running, get)):
            assert time.monotonic() < give_up
            time.sleep(0.5)
        assert value(told["aetherscript_up"]) == 0
        assert value(told["aetherscript_sidecar_tail_failures"]) > 0
        postgres_server.command("ALTER DATABASE watched WITH ALLOW_CONNECTIONS true")
        _until_ready(running, get, 200)


def _until_ready(running: Running, get: Callable[..., Any], status: int) -> None:
    give_up = time.monotonic() + 60
    while get(running, "/readyz", raw=True, token=None).status_code != status:
        assert time.monotonic() < give_up
        time.sleep(0.2)
