import os

from aether_dagster.steps import Connections


class Connection:
    def __init__(self, *, broken: bool = False):
        self.broken = broken
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.broken:
            raise OSError("gone")


def test_a_connection_is_opened_once_when_it_is_asked_for():
    connections = Connections()
    opened: list[Connection] = []

    def open_it() -> Connection:
        opened.append(Connection())
        return opened[-1]

    assert opened == []
    assert connections.get("warehouse", open_it) is connections.get("warehouse", open_it)
    assert len(opened) == 1


def test_closing_goes_on_after_a_failure_and_reports_it_once():
    connections = Connections()
    broken = connections.get("broken", lambda: Connection(broken=True))
    fine = connections.get("fine", Connection)
    assert connections.close() == ["The connection 'broken' did not close: OSError."]
    assert connections.close() == []
    assert (broken.closed, fine.closed) == (1, 1)


def test_a_forked_process_leaves_its_parents_connections_alone():
    connections = Connections()
    inherited = connections.get("warehouse", Connection)
    pid = os.fork()
    if pid == 0:
        own = connections.get("warehouse", Connection)
        connections.close()
        os._exit(0 if own is not inherited and not inherited.closed and own.closed else 1)
    assert os.waitpid(pid, 0)[1] == 0
