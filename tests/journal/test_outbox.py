"""Cursors of hooks and the ledger of their calls, on both engines."""

from dataclasses import replace

import pytest

from aether_dagster.errors import UnknownExecution
from aether_dagster.journal.outbox import CallEnd, HookCallRecord, HookCursor
from tests.journal.builders import initialization, reserve


@pytest.fixture
def pipeline_id(journal):
    reserved = reserve(journal).pipeline_id
    journal.append(reserved, [initialization(reserved, "load")])
    return reserved


def test_a_hook_is_registered_once_and_keeps_its_place(journal, pipeline_id):
    outbox = journal.outbox
    cursor = HookCursor(pipeline_id, "a.A", "a@1.0.0", "file:/a.py")
    outbox.register([cursor])
    outbox.move(replace(cursor, version=3, part=1, attempts=2, retry_at=7.5))
    outbox.register([cursor, HookCursor(pipeline_id, "b.B", "b@1.0.0", "plugin:b")])
    assert outbox.cursors(pipeline_id) == [
        replace(cursor, version=3, part=1, attempts=2, retry_at=7.5),
        HookCursor(pipeline_id, "b.B", "b@1.0.0", "plugin:b"),
    ]


def test_those_are_behind_which_have_versions_to_look_at(journal, pipeline_id):
    outbox = journal.outbox
    head = journal.record(pipeline_id).head
    cursors = [HookCursor(pipeline_id, f"h.{n}", "h@1.0.0", "file:x") for n in "ABC"]
    outbox.register(cursors)
    outbox.move(replace(cursors[0], version=head))
    outbox.move(replace(cursors[1], version=0, done=True))
    assert [cursor.hook for cursor in outbox.behind()] == ["h.C"]
    assert [cursor.hook for cursor in outbox.behind("h.A")] == []


def test_the_ledger_keeps_calls_in_order_and_moves_the_cursor_with_them(journal, pipeline_id):
    outbox = journal.outbox
    cursor = HookCursor(pipeline_id, "a.A", "a@1.0.0", "file:/a.py")
    outbox.register([cursor])
    first = outbox.begin_call(
        pipeline_id, event="pre_state_mutation", hook="a.A", plugin="a@1.0.0", node="load"
    )
    second = outbox.begin_call(
        pipeline_id,
        event="post_node_execute",
        hook="a.A",
        plugin="a@1.0.0",
        node="load",
        delivery="id",
        cursor=replace(cursor, attempts=1),
    )
    assert outbox.cursors(pipeline_id)[0].attempts == 1
    outbox.end_calls(
        [
            CallEnd(first, "amended", 1.5, {"changed": ["x"]}),
            CallEnd(second, "triggered", 2.5, {"job": "j"}, replace(cursor, version=2, part=1)),
        ]
    )
    calls = outbox.calls(pipeline_id)
    assert [(c.number, c.outcome, c.detail, c.delivery) for c in calls] == [
        (first, "amended", {"changed": ["x"]}, None),
        (second, "triggered", {"job": "j"}, "id"),
    ]
    assert outbox.cursors(pipeline_id) == [replace(cursor, version=2, part=1)]
    assert [call.number for call in outbox.triggered("a.A", 0)] == [second]
    assert outbox.triggered("a.A", second) == []


def test_calls_which_were_made_are_noted_together_and_move_the_cursor(journal, pipeline_id):
    outbox = journal.outbox
    cursor = HookCursor(pipeline_id, "a.A", "a@1.0.0", "file:/a.py")
    outbox.register([cursor])
    made = [
        HookCallRecord(
            number=0,
            pipeline_id=pipeline_id,
            called_at=1000.0 + number,
            event="post_node_execute",
            hook="a.A",
            plugin="a@1.0.0",
            node=f"s{number}",
            delivery=f"id {number}",
            outcome="returned",
            milliseconds=0.5,
            detail=None,
        )
        for number in range(40)
    ]
    made.append(replace(made[-1], node="last", outcome="raised", detail={"message": "no"}))
    outbox.note_calls(made, replace(cursor, version=7, part=1))
    noted = outbox.calls(pipeline_id)
    assert [replace(call, number=0) for call in noted] == made
    assert [call.number for call in noted] == sorted(call.number for call in noted)
    assert outbox.cursors(pipeline_id) == [replace(cursor, version=7, part=1)]


def test_a_call_whose_process_was_lost_has_no_outcome(journal, pipeline_id):
    journal.outbox.begin_call(pipeline_id, event="e", hook="a.A", plugin="a@1.0.0")
    (call,) = journal.outbox.calls(pipeline_id)
    assert (call.outcome, call.milliseconds, call.detail) == (None, None, None)


def test_what_is_pruned_has_no_ledger(journal, pipeline_id):
    journal.outbox.register([HookCursor(pipeline_id, "a.A", "a@1.0.0", "file:/a.py")])
    journal.outbox.begin_call(pipeline_id, event="e", hook="a.A", plugin="a@1.0.0")
    journal.prune([pipeline_id])
    assert journal.outbox.behind() == []
    with pytest.raises(UnknownExecution):
        journal.outbox.calls(pipeline_id)
