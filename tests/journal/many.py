"""A journal as it is after years: very many executions which have ended, copied from a real one."""

from itertools import pairwise

from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import CallEnd, HookCursor
from aether_dagster.journal.schema import (
    delta_ids,
    executions,
    hook_calls,
    hook_cursors,
    resolutions,
    versions,
)
from aether_dagster.state import ids
from tests.journal.builders import initialization, outcome, report, reserve

HOOKS = ("one.One", "two.Two")
CALLS = 4
_AT_ONCE = 10_000
_NUMBERS = (
    "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
    " SELECT {columns} FROM {table}, n WHERE {table}.{execution} = {template}"
)


def add_ended(journal: Journal, count: int) -> str:
    """Adds so many executions which have ended, and been told to hooks; returns the oldest's id.

    They are copies of one execution of two nodes with six versions, in twenty pipelines.
    """
    oldest = _template(journal)
    template = ids.pipeline_number(oldest)
    for first, last in pairwise([*range(1, count, _AT_ONCE), count]):
        with journal._database.writing() as session:
            for statement in _copies(session.engine, template, first, last - 1):
                session.sql(statement)
    with journal._database.writing() as session:
        last = template + count - 1
        session.sql(f"UPDATE aether_journal SET value = {last} WHERE name = 'last_number'")
    return oldest


def _template(journal: Journal) -> str:
    execution = reserve(journal, now_ms=1_689_876_543_212).pipeline_id
    journal.annotate(execution, resolved={"env": {}})
    outbox = journal.outbox
    cursors = [HookCursor(execution, hook, "p@1.0.0", "file:/p.py") for hook in HOOKS]
    outbox.register(cursors)
    journal.append(execution, [initialization(execution, "load", "plot")])
    for node in ("load", "plot"):
        journal.append(execution, [outcome(f"{node}-1", node, 1, "executing")])
        journal.append(execution, [outcome(f"{node}-2", node, 1, "succeeded", {"rows": 3})])
    head = journal.append(execution, [report()])
    for cursor in cursors:
        for number in range(1, CALLS):
            call = outbox.begin_call(execution, event="e", hook=cursor.hook, plugin="p@1.0.0")
            outbox.end_calls([CallEnd(call, "returned" if number > 1 else "failed", 1.5)])
        done = HookCursor(execution, cursor.hook, "p@1.0.0", "file:/p.py", head, done=True)
        outbox.move(done)
    return execution


def _copies(engine: str, template: int, first: int, last: int) -> list[str]:
    statements = []
    for table in (executions, resolutions, versions, delta_ids, hook_cursors, hook_calls):
        key = "number" if table is executions else "execution"
        own = {key: f"{template} + i"}
        if table is executions:
            own |= {"run_id": "'copy-' || i", "pipeline": "'pipeline-' || (i - i / 20 * 20)"}
        # These are given anew; a place in PostgreSQL is the transaction's which committed it.
        given = {versions: "place" if engine == "sqlite" else None, hook_calls: "number"}.get(table)
        names = [column.name for column in table.columns if column.name != given]
        columns = ", ".join(own.get(name, f"{table.name}.{name}") for name in names)
        select = _NUMBERS.format(
            first=first,
            last=last,
            columns=columns,
            table=table.name,
            execution=key,
            template=template,
        )
        statements.append(f"INSERT INTO {table.name} ({', '.join(names)}) {select}")
    return statements
