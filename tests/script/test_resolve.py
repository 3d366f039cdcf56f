"""Values for references: when they are looked up, what is kept, and what is never shown."""

import itertools
import json

import pytest

from aether_dagster.errors import ExecutionMismatch, ScriptError
from aether_dagster.script import Resolved, SystemValues, parse_document, resolve

SYSTEM = SystemValues("2023-07-20T13:35:43.212Z", "pipeline_01H3XYZ9")
HEAD = 'version: "2.1"\nmetadata: {name: example, labels: {tier: gold}}\n'


def document(args="{}", head="", kind="python/call", more=""):
    if kind == "python/call":
        args = "{callable: 'm:f', " + args.lstrip("{")
    step = f"    - {{id: a, type: {kind}, args: {args}}}\n"
    return parse_document(f"{HEAD}{head}pipeline:\n  steps:\n{step}{more}", file="x.yaml")


def no_file(path):
    raise FileNotFoundError(2, "No such file or directory", path)


def resolved(found, environ=(), read_file=no_file, system=SYSTEM):
    return resolve(found, environ=dict(environ), system=system, read_file=read_file)


def arguments(whole, step="a", outputs=(), secrets=(), environ=()):
    return whole.arguments(
        step, outputs=dict(outputs), secret=dict(secrets).__getitem__, environ=dict(environ)
    )


def at(found, reference):
    """The place of a reference as messages give it, looked up in the text itself."""
    before = found.loaded.text.partition(reference)[0]
    return f"x.yaml:{before.count(chr(10)) + 1}:{len(before.rpartition(chr(10))[2]) + 1}:"


def told(function, *args, **options):
    with pytest.raises(ScriptError) as caught:
        function(*args, **options)
    return [str(problem) for problem in caught.value.problems]


def test_every_kind_of_reference_has_its_value():
    args = (
        "{v: '${V}', e: '${E}', t: '${TIMESTAMP_UTC}', x: '${EXECUTION_ID}', p: '${PARTITION_KEY}',"
        " n: '${METADATA.NAME}', l: '${METADATA.LABELS.tier}', ver: '${METADATA.VERSION}',"
        " f: 'text: ${file./motd}', o: '${steps.b.output.rows[1]}', s: 'Bearer ${secrets.S}'}"
    )
    found = document(args, "variables: {V: [1, 2]}\n", more="    - {id: b, type: core/echo}\n")
    system = SystemValues(SYSTEM.timestamp_utc, SYSTEM.execution_id, "2024-01-01")
    whole = resolved(found, {"E": "env"}, {"/motd": "hello"}.__getitem__, system)
    result = arguments(whole, outputs={"b": {"rows": [1, {"x": 2}]}}, secrets={"S": "s3cret"})
    expected = {
        "callable": "m:f",
        "v": [1, 2],
        "e": "env",
        "t": SYSTEM.timestamp_utc,
        "x": SYSTEM.execution_id,
        "p": "2024-01-01",
        "n": "example",
        "l": "gold",
        "ver": "2.1.0",
        "f": "text: hello",
        "o": {"x": 2},
    }
    assert result.args == {**expected, "s": "Bearer s3cret"}
    assert result.shown == {**expected, "s": "Bearer ***"}
    assert result.secrets == {"s3cret"}
    assert "s3cret" not in repr(result)


def test_variables_may_refer_to_each_other_in_any_order_and_hide_the_environment():
    found = document("{a: '${A}'}", "variables: {A: '${B}/a', B: '${ROOT}', C: '${A}'}\n")
    whole = resolved(found, {"ROOT": "/data", "A": "of the environment"})
    assert whole.variables == {"A": "/data/a", "B": "/data", "C": "/data/a"}
    assert arguments(whole).args["a"] == "/data/a"


def test_a_long_chain_of_variables_resolves_in_whatever_order_it_stands():
    names = [f"V{n}" for n in range(3_000)]
    rows = [f"  {name}: '${{{below}}}'\n" for name, below in itertools.pairwise(names)]
    for ordered in (rows, rows[::-1]):
        head = f"variables:\n  {names[-1]}: end\n{''.join(ordered)}"
        assert resolved(document("{a: '${V0}'}", head)).variables["V0"] == "end"


def test_what_variables_become_is_bounded_before_it_is_made():
    repeated = " ".join(["${V}"] * 60_000)
    head = f"variables:\n  V: {'x' * 2_000}\n"
    wide = f"    - {{id: b, type: core/echo, args: {{message: '{repeated}'}}}}\n"
    (message,) = told(document, head=head, more=wide)
    assert message.startswith("x.yaml:8:48: step 'b', args.message: with what it refers to")
    escapes = "".join(f"  E{n + 1}: ['x${{E{n}}}']\n" for n in range(40))
    (first, *_) = told(document, head=f"variables:\n  E0: ['\"']\n{escapes}")
    assert "is too large; expected at most" in first


def test_an_output_is_given_as_the_object_it_is():
    found = document("{o: '${steps.b.output}'}", more="    - {id: b, type: core/echo}\n")
    table = object()
    assert arguments(resolved(found), outputs={"b": table}).args["o"] is table


def test_what_was_resolved_once_is_read_again_elsewhere():
    found = document(
        "{e: '${E}', f: '${file./f}', t: '${EXECUTION_ID}', v: '${V}'}", "variables: {V: 1}\n"
    )
    kept = json.loads(json.dumps(resolved(found, {"E": "first"}, {"/f": "text"}.get).to_json()))
    again = Resolved.from_json(kept, parse_document(json.dumps(found.canonical())))
    result = arguments(again, environ={"E": "changed since"})
    assert result.args["e"] == "first"
    assert result.args["f"] == "text"
    assert result.args["v"] == 1


def test_what_was_kept_for_another_document_is_refused():
    kept = resolved(document("{a: 1}")).to_json()
    with pytest.raises(ExecutionMismatch, match="Start a new run"):
        Resolved.from_json(kept, document("{a: 2}"))


def test_secret_environment_variables_are_kept_nowhere_and_read_where_the_step_runs():
    found = document("{t: '${TOKEN}', h: 'x${KEY}'}", "context: {secret_env: [TOKEN, KEY]}\n")
    whole = resolved(found, {"TOKEN": "of the parent", "KEY": "k3y-value"})
    assert "of the parent" not in json.dumps(whole.to_json())
    assert "k3y-value" not in json.dumps(whole.to_json()) + repr(whole)
    result = arguments(whole, environ={"TOKEN": "of the worker", "KEY": "k3y-value"})
    assert result.args["t"] == "of the worker"
    assert result.shown == {"callable": "m:f", "t": "***", "h": "x***"}
    assert result.secrets == {"of the worker", "k3y-value"}
    assert "not in the environment of this process" in told(arguments, whole)[0]


def test_a_url_with_a_password_is_secret_wherever_it_comes_from():
    found = document("{url: '${URL}', query: select 1}", kind="sql/query")
    url = "postgresql+psycopg://me:p%40ss-word@db/x"
    whole = resolved(found, {"URL": url})
    assert "ss-word" not in json.dumps(whole.to_json())
    result = arguments(whole, environ={"URL": url})
    assert result.args["url"] == url
    assert result.shown["url"] == "***"
    assert {"p%40ss-word", "p@ss-word"} <= result.secrets


def test_the_first_context():
    head = (
        "variables: {N: 3}\ncontext:\n"
        "  environment_vars: {Z: '${Z}', COUNT: '${N}', TOKEN: '${TOKEN}', LITERAL: x}\n"
        "  secret_store: 'vault://${STAGE}'\n"
        "  artifacts: {raw: '/tmp/${EXECUTION_ID}/raw.bin'}\n"
        "  secret_env: [TOKEN]\n"
    )
    environ = {"Z": "z", "TOKEN": "s3cret", "STAGE": "prod", "OTHER": "not declared"}
    assert resolved(document(head=head), environ).context() == {
        "environment_vars": {"COUNT": "3", "LITERAL": "x", "TOKEN": "***", "Z": "z"},
        "secret_store": "vault://prod",
        "artifacts": {"raw": "/tmp/pipeline_01H3XYZ9/raw.bin"},
    }


def test_everything_missing_is_told_before_anything_runs():
    found = document(
        "{a: '${NOWHERE}', b: 'x ${file./none}', c: '${PARTITION_KEY}'}",
        "context: {environment_vars: {DB: '${DB_URL}'}}\n",
    )
    problems = told(resolved, found, {"DB_URI": "x"})
    assert [problem.split(" ")[0] for problem in problems] == [
        at(found, reference)
        for reference in ("${DB_URL}", "${NOWHERE}", "${file./none}", "${PARTITION_KEY}")
    ]
    assert "did you mean DB_URI?" in problems[0]
    assert "cannot be read: No such file or directory" in problems[2]
    assert "this run has no partition; give it one" in problems[3]


def test_a_secret_cannot_enter_what_is_kept():
    found = document(head="variables: {DB: 'x ${URL}'}\n")
    problems = told(resolved, found, {"URL": "redis://:s3cret@host"})
    assert "is secret, and what stands here is kept in the journal" in problems[0]
    assert "s3cret" not in problems[0]


def test_what_an_output_does_not_have_is_told_with_the_place_and_the_nearest_name():
    found = document(
        "{p: '${steps.b.output.paht}', i: 'n ${steps.b.output.rows[3]}',"
        " q: '${steps.b.output.path.x}'}",
        more="    - {id: b, type: core/echo}\n",
    )
    problems = told(arguments, resolved(found), outputs={"b": {"path": "/x", "rows": [1]}})
    assert problems == [
        at(found, "${steps.b.output.paht}")
        + " step 'a', args.p: ${steps.b.output.paht}: the output of 'b' has no 'paht'; "
        "found path, rows; did you mean path?",
        at(found, "${steps.b.output.rows[3]}")
        + " step 'a', args.i: ${steps.b.output.rows[3]}: the output of 'b' has no 3; "
        "found 1 items",
        at(found, "${steps.b.output.path.x}")
        + " step 'a', args.q: ${steps.b.output.path.x}: the output of 'b' has no 'x'; "
        "found no mapping",
    ]
    assert "left no output" in told(arguments, resolved(found))[0]


def test_a_table_among_text_is_told():
    found = document("{p: 'x ${steps.b.output}'}", more="    - {id: b, type: core/echo}\n")
    problem = told(arguments, resolved(found), outputs={"b": object()})[0]
    assert "cannot stand among other text" in problem


def test_a_missing_secret_is_told():
    found = document("{p: '${secrets.NONE}'}")
    assert told(arguments, resolved(found)) == [
        at(found, "${secrets.NONE}")
        + " step 'a', args.p: ${secrets.NONE} is not in the secret store"
    ]


def test_connectors_read_the_environment_of_the_process_which_connects():
    found = document(
        head="connectors:\n  db: {type: sql, url: 'postgresql://me:${DB_PW}@db/${STAGE}',"
        " options: {pool_size: 2}}\n"
        "  api: {type: http, url: 'https://x', headers: {Authorization: 'Bearer ${API}', A: b}}\n"
    )
    whole = resolved(found, {"DB_PW": "one-word", "API": "t0ken", "STAGE": "prod"})
    assert whole.to_json()["environment"] == {}
    environ = {"DB_PW": "other-word", "API": "t0ken", "STAGE": "dev"}
    db = whole.connector("db", environ=environ, secret={}.__getitem__)
    assert db.args["url"] == "postgresql://me:other-word@db/dev"
    assert db.args["options"] == {"pool_size": 2}
    assert db.shown["url"] == "postgresql://me:***@db/dev"
    assert db.secrets == {"other-word"}
    api = whole.connector("api", environ=environ, secret={}.__getitem__)
    assert api.args["headers"] == {"Authorization": "Bearer t0ken", "A": "b"}
    assert api.shown["headers"] == {"Authorization": "***", "A": "b"}
    assert "t0ken" in api.secrets


def test_hooks_have_their_arguments_resolved_too():
    found = document(
        more="hooks:\n  onFailure:\n"
        "    - {type: core/echo, args: {message: '${EXECUTION_ID} failed'}}\n"
    )
    result = resolved(found).hook_arguments(
        "onFailure", 0, outputs={}, secret={}.__getitem__, environ={}
    )
    assert result.args == {"message": "pipeline_01H3XYZ9 failed"}


def test_names_in_connectors_are_looked_up_where_the_connection_is_made():
    found = document(head="connectors: {w: {type: sql, url: '${ELSEWHERE}'}}\n")
    begun = resolve(found, environ={}, system=SYSTEM, read_file=str)
    there = {"ELSEWHERE": "sqlite:///x.db"}
    assert begun.connector("w", environ=there, secret=str).args["url"] == "sqlite:///x.db"
    with pytest.raises(ScriptError, match="ELSEWHERE"):
        begun.connector("w", environ={}, secret=str)
