import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from aether_dagster.crypto import Key, KeyRing, open_sealed, rewrap
from aether_dagster.errors import SealError, Tampered, Truncated, WrongKey
from aether_dagster.snapshot import (
    FINAL,
    INIT,
    Finding,
    HistoryStore,
    Recorded,
    parse_folder,
    read_execution,
    verify_execution,
)
from tests.snapshot.folders import Folder, write_folder

KEY, OTHER = Key(bytes(range(32))), Key(bytes(range(1, 33)))
RING = KeyRing([KEY])


@pytest.fixture(params=["plain", "sealed"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return write_folder(tmp_path / "executions", RING if request.param == "sealed" else None)


@pytest.fixture
def sealed(tmp_path: Path) -> Folder:
    return write_folder(tmp_path / "executions", RING)


def kinds(findings: Iterable[Finding]) -> set[tuple[str, str | None]]:
    return {(finding.kind, finding.file) for finding in findings}


def one_of_each_kind(folder: Folder) -> list[str]:
    attempt = next(name for name in folder.names if "attempt" in name)
    node = next(name for name in folder.names if "node" in name and "final" in name)
    return [INIT, attempt, node, FINAL]


def refuses(folder: Folder) -> bool:
    try:
        read_execution(str(folder.path), folder.keys)
    except SealError:
        return True
    return False


def test_a_whole_folder_is_whole_with_and_without_the_journal(folder: Folder) -> None:
    for journal in (True, False):
        result = folder.verify(journal=journal)
        assert (result.verdict, result.findings) == ("whole", ())
        assert result.files == len(folder.names) == 7
        assert result.sealed == (folder.keys is not None)


def test_no_flipped_bit_and_no_truncation_of_a_sealed_file_of_any_kind_opens(
    sealed: Folder,
) -> None:
    """All of them, of whole files; `verify` calls each of these errors damage of that file."""
    execution = str(parse_folder(sealed.path.name))

    def told(name: str, data: bytes) -> type[Exception] | None:
        try:
            open_sealed(data, RING, execution, name)
        except SealError as error:
            return type(error)
        return None

    for name in one_of_each_kind(sealed):
        data = (sealed.path / name).read_bytes()
        assert len(data) < 2_048
        assert told(name, data) is None
        flipped = {
            told(name, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            for at in range(len(data))
            for bit in range(8)
        }
        assert flipped == {Tampered, WrongKey}
        assert {told(name, data[:length]) for length in range(len(data))} == {Truncated}


def campaign(folder: Folder, step: int) -> None:
    """Flips bits and truncates, a file of each kind; every finding names the file."""
    for name in one_of_each_kind(folder):
        path = folder.path / name
        data = path.read_bytes()
        for bit in range(0, len(data) * 8, step):
            at, mask = divmod(bit, 8)
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << mask]) + data[at + 1 :])
            assert kinds(folder.verify().findings) <= {("damaged", name), ("foreign", name)}
            assert folder.verify().verdict in ("damaged", "foreign")
            if folder.keys is not None:
                assert kinds(folder.verify(journal=False).findings) == {("damaged", name)}
        for length in range(0, len(data), max(1, step // 8)):
            path.write_bytes(data[:length])
            assert kinds(folder.verify().findings) == {("damaged", name)}
            assert folder.keys is None or refuses(folder)
        path.write_bytes(data)
    assert folder.verify().verdict == "whole"


def test_flipped_bits_and_truncations_are_damage_of_that_file(folder: Folder) -> None:
    campaign(folder, 61)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_every_flipped_bit_and_every_truncation_is_damage_of_that_file(folder: Folder) -> None:
    campaign(folder, 1)


def test_every_swap_of_two_files_is_found_with_their_names(folder: Folder) -> None:
    for first, second in itertools.combinations(folder.names, 2):
        one, two = (folder.path / first).read_bytes(), (folder.path / second).read_bytes()
        (folder.path / first).write_bytes(two)
        (folder.path / second).write_bytes(one)
        if one != two:
            assert kinds(folder.verify().findings) == {("foreign", first), ("foreign", second)}
            assert folder.keys is None or folder.verify(journal=False).verdict == "foreign"
            assert folder.keys is None or refuses(folder)
        (folder.path / first).write_bytes(one)
        (folder.path / second).write_bytes(two)


def test_a_renamed_file_is_missing_and_foreign(folder: Folder) -> None:
    for name in folder.names[1:]:
        for new in ("state_node_other_01H3XYZA_attempt1.json", "notes.txt"):
            (folder.path / name).rename(folder.path / new)
            found = kinds(folder.verify().findings)
            assert {("missing", name), ("foreign", new)} <= found, (name, new)
            assert folder.keys is None or new == "notes.txt" or refuses(folder)
            (folder.path / new).rename(folder.path / name)


def test_a_file_of_another_execution_is_foreign(folder: Folder) -> None:
    other = write_folder(folder.path.parent, folder.keys, "pipeline_01H3XYZG")
    for mine, theirs in zip(folder.names, other.names, strict=True):
        data = (folder.path / mine).read_bytes()
        shutil.copy(other.path / theirs, folder.path / mine)
        assert kinds(folder.verify().findings) == {("foreign", mine)}
        assert kinds(folder.verify(journal=False).findings) == {("foreign", mine)}
        (folder.path / mine).write_bytes(data)
        if theirs != mine:
            shutil.copy(other.path / theirs, folder.path / theirs)
            assert ("foreign", theirs) in kinds(folder.verify().findings)
            (folder.path / theirs).unlink()


def test_a_folder_given_another_executions_name_is_foreign(folder: Folder) -> None:
    moved = folder.path.with_name(folder.path.name.replace("01H3XYZ9", "01H3XYZG"))
    folder.path.rename(moved)
    store = HistoryStore(str(moved.parent))
    result = verify_execution(store, moved.name, folder.keys, None)
    assert {finding.kind for finding in result.findings} == {"foreign"}


def test_every_removed_file_is_missing_by_its_name(folder: Folder) -> None:
    for name in folder.names:
        data = (folder.path / name).read_bytes()
        (folder.path / name).unlink()
        assert kinds(folder.verify().findings) == {("missing", name)}
        without = folder.verify(journal=False).verdict
        if name == FINAL:
            assert without == "unfinished"
        elif folder.keys is not None:
            assert without == "missing"
            assert refuses(folder)
        (folder.path / name).write_bytes(data)


def test_an_emptied_folder_misses_every_file(folder: Folder) -> None:
    for name in folder.names:
        (folder.path / name).unlink()
    assert kinds(folder.verify().findings) == {("missing", name) for name in folder.names}


def test_a_folder_rolled_back_to_any_earlier_copy_is_found(folder: Folder) -> None:
    for length in range(1, len(folder.names) - 1):
        gone = {name: (folder.path / name).read_bytes() for name in folder.names[length:]}
        for name in gone:
            (folder.path / name).unlink()
        result = folder.verify()
        assert kinds(result.findings) == {("rolled back", None)}
        assert all(name in result.findings[0].message for name in gone)
        for name, data in gone.items():
            (folder.path / name).write_bytes(data)


def test_a_file_issued_again_gives_the_older_issue_away(sealed: Folder, tmp_path: Path) -> None:
    again = write_folder(tmp_path / "again", RING)
    shutil.copy(again.path / FINAL, sealed.path / FINAL)
    assert kinds(sealed.verify().findings) == {("rolled back", FINAL)}


def test_a_journal_which_was_rolled_back_is_found_by_the_tag_of_the_run(folder: Folder) -> None:
    store = HistoryStore(str(folder.path.parent))
    head = folder.links[-1].link
    for name in folder.names[5:]:
        (folder.path / name).unlink()
    earlier = Recorded(folder.links[:5], finalized=False, head=head)
    result = verify_execution(store, folder.path.name, folder.keys, earlier)
    assert result.verdict == "rolled back"
    whole = Recorded(folder.links[:5], finalized=False, head=folder.links[4].link)
    result = verify_execution(store, folder.path.name, folder.keys, whole)
    assert result.verdict == "unfinished"


def test_an_execution_which_never_ended_is_told_from_one_which_lost_its_end(folder: Folder) -> None:
    (folder.path / FINAL).unlink()
    store = HistoryStore(str(folder.path.parent))

    def verdict(recorded: Recorded | None) -> str:
        return verify_execution(store, folder.path.name, folder.keys, recorded).verdict

    assert verdict(Recorded(folder.links[:-1], finalized=False)) == "unfinished"
    # Recorded and cut off before it was written.
    assert verdict(Recorded(folder.links, finalized=False)) == "unfinished"
    given_up = Recorded(folder.links[:-1], finalized=True, error="the disk is full")
    assert verdict(given_up) == "unfinished"
    assert verdict(Recorded(folder.links, finalized=True)) == "missing"
    assert verdict(None) == "unfinished"


def test_a_plain_file_among_sealed_ones_is_foreign_and_the_other_way_round(tmp_path: Path) -> None:
    sealed, plain = write_folder(tmp_path / "a", RING), write_folder(tmp_path / "b", None)
    for name in sealed.names:
        mine = (sealed.path / name).read_bytes(), (plain.path / name).read_bytes()
        (sealed.path / name).write_bytes(mine[1])
        (plain.path / name).write_bytes(mine[0])
        for folder in (sealed, plain):
            assert kinds(folder.verify().findings) == {("foreign", name)}
        assert refuses(sealed)
        (sealed.path / name).write_bytes(mine[0])
        (plain.path / name).write_bytes(mine[1])


def test_without_the_right_key_a_folder_is_locked_and_not_called_damaged(sealed: Folder) -> None:
    store = HistoryStore(str(sealed.path.parent))
    for keys, said in ((None, "no key was given"), (KeyRing([OTHER]), f"key {KEY.id}")):
        for recorded in (None, Recorded(sealed.links, finalized=True)):
            result = verify_execution(store, sealed.path.name, keys, recorded)
            assert result.verdict == "locked"
            assert kinds(result.findings) == {("locked", None)}
            assert said in result.findings[0].message


def test_damage_is_found_without_the_key_where_the_journal_knows_the_links(sealed: Folder) -> None:
    path = sealed.path / FINAL
    data = bytearray(path.read_bytes())
    place = data.index(b'"ciphertext":"') + 30
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    path.write_bytes(bytes(data))
    store = HistoryStore(str(sealed.path.parent))
    recorded = Recorded(sealed.links, finalized=True)
    result = verify_execution(store, sealed.path.name, None, recorded)
    assert ("damaged", FINAL) in kinds(result.findings)


def test_after_a_rotation_of_keys_the_links_are_the_same(sealed: Folder) -> None:
    ring = KeyRing([OTHER, KEY])
    for name in sealed.names[:4]:
        path = sealed.path / name
        path.write_bytes(rewrap(path.read_bytes(), ring))
    assert sealed.verify(keys=ring).verdict == "whole"
    assert sealed.verify().verdict == "locked"


def test_read_execution_opens_a_sealed_folder(sealed: Folder, tmp_path: Path) -> None:
    plain = write_folder(tmp_path / "plain", None)
    opened, read = read_execution(str(sealed.path), RING), read_execution(str(plain.path))
    assert (opened.init, opened.attempts, opened.finals, opened.final) == (
        read.init,
        read.attempts,
        read.finals,
        read.final,
    )
    assert opened.sealed
    assert not read.sealed


def test_read_execution_says_that_a_key_is_needed(sealed: Folder) -> None:
    with pytest.raises(SealError, match=r"state_.*is sealed and no key was given"):
        read_execution(str(sealed.path))
    with pytest.raises(SealError, match=f"state_.*{KEY.id}.*{OTHER.id}"):
        read_execution(str(sealed.path), KeyRing([OTHER]))
