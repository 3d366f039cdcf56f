"""The grammar of `${…}`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.script.interpolation import (
    NoSuchKey,
    Reference,
    follow,
    parse,
    references,
    substitute,
    to_text,
)


def only(text):
    template, faults = parse(text)
    assert faults == ()
    assert len(template) == 1
    assert isinstance(template[0], Reference)
    return template[0]


@pytest.mark.parametrize(
    ("text", "kind", "name", "keys"),
    [
        ("${SOURCE}", "name", "SOURCE", ()),
        ("${_x9}", "name", "_x9", ()),
        ("${TIMESTAMP_UTC}", "system", "TIMESTAMP_UTC", ()),
        ("${PARTITION_KEY}", "system", "PARTITION_KEY", ()),
        ("${METADATA.NAME}", "metadata", "NAME", ()),
        ("${METADATA.LABELS.tier}", "metadata", "LABELS", ("tier",)),
        ("${secrets.API_KEY}", "secret", "API_KEY", ()),
        ("${secrets.db/prod.password}", "secret", "db/prod.password", ()),
        ("${file./etc/motd}", "file", "/etc/motd", ()),
        ("${file.notes of today.txt}", "file", "notes of today.txt", ()),
        ("${assets}", "name", "assets", ()),
        ("${assets.rates}", "asset", "rates", ()),
        ("${assets.raw/fx_rates.eur[0]}", "asset", "raw/fx_rates", ("eur", 0)),
        ("${steps.a-b.output}", "step", "a-b", ()),
        ("${steps.a.output.b.c[0][-1].d-e}", "step", "a", ("b", "c", 0, -1, "d-e")),
        ("""${steps.a.output['k k']["ü.x"]}""", "step", "a", ("k k", "ü.x")),
    ],
)
def test_references(text, kind, name, keys):
    found = only(text)
    assert (found.kind, found.name, found.keys, found.text) == (kind, name, keys, text)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("${}", None),
        ("${", None),
        ("${A", None),
        ("${1A}", None),
        ("${A-B}", None),
        ("${A:-default}", None),
        ("${ A }", "${A}"),
        ("${{ A }}", "${A}"),
        ("${steps}", None),
        ("${steps.a}", "${steps.a.output}"),
        ("${steps.a.outputs}", None),
        ("${steps.a.result.b}", "${steps.a.output}"),
        ("${steps.a.output.}", None),
        ("${steps.a.output[x]}", None),
        ("${steps.a.output[0}", None),
        ("${secrets}", None),
        ("${secrets.}", None),
        ("${file.}", None),
        ("${METADATA}", None),
    ],
)
def test_what_is_no_reference_is_a_fault_and_never_silently_text(text, suggestion):
    _, faults = parse(f"before {text}")
    assert len(faults) == 1
    assert faults[0].suggestion == suggestion


def test_every_fault_of_a_string_is_told_with_its_place_among_the_openings():
    _, faults = parse("$${a} ${1} ${B} ${ C }")
    assert [fault.ordinal for fault in faults] == [1, 3]


def test_a_doubled_dollar_is_a_literal_brace():
    assert parse("echo $${HOME} $$ $HOME $") == (("echo ${HOME} $$ $HOME $",), ())
    assert parse("$$${A}") == (("$${A}",), ())


@given(st.text(alphabet="$${}ab.[]'\" \n"))
def test_every_text_is_parsed_or_explained(text):
    template, faults = parse(text)
    openings = text.count("${")
    assert len([p for p in template if isinstance(p, Reference)]) + len(faults) <= openings
    if openings == 0:
        assert (template, faults) == ((text,), ())


@given(st.text())
def test_any_text_can_be_written_literally(text):
    escaped = text.replace("${", "$${")
    assert substitute(escaped, lambda *_: pytest.fail("no reference")) == text


def test_a_reference_alone_keeps_the_type_and_among_text_becomes_text():
    rows = [{"a": 1}]
    values = {"ROWS": rows, "N": 3, "F": 2.0, "T": True, "NONE": None, "S": "s"}
    data = {"alone": "${ROWS}", "among": ["${N}/${F}/${T}/${NONE}/${S}", "rows: ${ROWS}"], "n": 1}
    found = substitute(data, lambda reference, _: values[reference.name])
    assert found == {"alone": rows, "among": ["3/2/true/null/s", 'rows: [{"a":1}]'], "n": 1}
    assert found["alone"] is rows


def test_a_value_which_is_no_json_has_no_text():
    with pytest.raises(ValueError, match="object"):
        to_text(object())


def test_references_come_in_order_with_their_paths():
    data = {"a": ["x", "${B}${C}"], "d": {"e": "${steps.s.output}"}}
    found = [(path, reference.name) for path, reference in references(data, ("root",))]
    assert found == [(("root", "a", 1), "B"), (("root", "a", 1), "C"), (("root", "d", "e"), "s")]


def test_following_keys_and_indexes_into_a_value():
    value = {"a": [{"b": 1}, {"b": 2}]}
    assert follow(value, ("a", -1, "b")) == 2
    with pytest.raises(NoSuchKey) as caught:
        follow(value, ("a", 0, "c"))
    assert (caught.value.taken, caught.value.key, caught.value.known) == (("a", 0), "c", ["b"])
    with pytest.raises(NoSuchKey):
        follow(value, ("a", 2))
    with pytest.raises(NoSuchKey):
        follow("text", (0,))
