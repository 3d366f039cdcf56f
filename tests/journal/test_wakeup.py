import socket
import time
from pathlib import Path

from aether_dagster.journal import Journal
from aether_dagster.journal.wakeup import Bell, NoMailbox, SocketMailbox
from tests.journal.builders import artifact, reserve


def waited(mailbox: SocketMailbox, seconds: float) -> float:
    began = time.monotonic()
    mailbox.wait(seconds)
    return time.monotonic() - began


def mailbox_of(bell: Bell) -> SocketMailbox:
    mailbox = bell.mailbox()
    assert isinstance(mailbox, SocketMailbox)
    return mailbox


def test_every_mailbox_is_woken(tmp_path: Path) -> None:
    bell, other = Bell(tmp_path / "wake"), Bell(tmp_path / "wake")
    mailboxes = [mailbox_of(bell), mailbox_of(bell), mailbox_of(other)]
    bell.ring()
    assert all(waited(mailbox, 60) < 30 for mailbox in mailboxes)
    for mailbox in mailboxes:
        mailbox.close()
    assert list((tmp_path / "wake").iterdir()) == []
    bell.close()
    other.close()


def test_a_wake_up_before_the_wait_is_not_lost_and_a_cleared_one_is_gone(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "wake")
    mailbox = mailbox_of(bell)
    bell.ring()
    bell.ring()
    mailbox.clear()
    assert waited(mailbox, 0.05) >= 0.05
    bell.ring()
    assert waited(mailbox, 60) < 30
    mailbox.close()
    bell.close()


def test_a_full_mailbox_holds_nobody_up(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "wake")
    mailbox = mailbox_of(bell)
    began = time.monotonic()
    for _ in range(5000):
        bell.ring()
    assert time.monotonic() - began < 30
    assert waited(mailbox, 60) < 30
    mailbox.close()
    bell.close()


def test_the_mailbox_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "wake")
    mailbox = mailbox_of(bell)
    stale = tmp_path / "wake" / "4194304-0"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))
    assert stale.exists()
    bell.ring()
    assert not stale.exists()
    assert waited(mailbox, 60) < 30
    mailbox.close()
    bell.close()


def test_a_folder_too_deep_for_a_socket_address_serves_as_well(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    bell = Bell(deep / "wake")
    mailbox = mailbox_of(bell)
    bell.ring()
    assert waited(mailbox, 60) < 30
    mailbox.close()
    bell.close()


def test_who_cannot_be_woken_looks_often(tmp_path: Path) -> None:
    (tmp_path / "wake").write_text("a file, where a folder would have to be")
    bell = Bell(tmp_path / "wake")
    mailbox = bell.mailbox()
    assert isinstance(mailbox, NoMailbox)
    began = time.monotonic()
    mailbox.wait(60)
    assert time.monotonic() - began < 30
    bell.ring()
    bell.close()


def test_a_lost_wake_up_only_makes_a_tail_late(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        execution = reserve(journal).pipeline_id
        cursor = journal.cursor()
        journal.append(execution, [artifact("first", "x", "1")])
        cursor = journal.tail(cursor, 1).cursor
        for address in (tmp_path / "state.db-wake").iterdir():
            address.unlink()
        with Journal.open(tmp_path / "state.db") as other:
            other.append(execution, [artifact("a", "x", "1")])
        assert len(journal.tail(cursor, timeout=10).versions) == 1
