"""What a start leaves alone, and what it gives back."""

import gc

from aether_dagster.cli import start
from aether_dagster.cli.start import uncollected_start
from aether_dagster.plugins import discovery
from aether_dagster.project import read_document

DOCUMENT = """\
version: "2.1"
metadata: {name: p}
pipeline:
  steps:
    - {id: a, type: core/echo, args: {message: x}}
"""


class _Circle:
    ended = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        _Circle.ended += 1


def test_the_garbage_of_a_large_graph_is_collected_before_its_run_begins(monkeypatch) -> None:
    monkeypatch.setattr(start, "_MANY_OBJECTS", 10)
    kept: list[list[int]] = []
    with uncollected_start() as started:
        before = _Circle.ended
        _Circle()
        kept.extend([] for _ in range(1_000))
        assert _Circle.ended == before
        started()
        assert _Circle.ended == before + 1
    gc.unfreeze()


def test_what_is_installed_is_asked_only_where_a_document_lists_plugins(
    tmp_path, monkeypatch
) -> None:
    asked: list[str] = []

    def installed() -> list[discovery.FoundPlugin]:
        asked.append("")
        return [discovery.FoundPlugin("Acme", "1.2.0", {})]

    monkeypatch.setattr(discovery, "_installed", installed)
    file = tmp_path / "p.aether.yaml"
    file.write_text(DOCUMENT)
    read_document(file)
    assert not asked
    file.write_text(DOCUMENT + "plugins:\n  - {name: Acme, version: ^1.0.0}\n")
    read_document(file)
    assert asked
