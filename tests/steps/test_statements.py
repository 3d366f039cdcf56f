import pytest

from aether_dagster.errors import StepFailed
from aether_dagster.steps.statements import split


def test_statements_are_told_apart():
    query = """
    -- first; comment
    create trigger t after insert on a begin insert into b values (';'); delete from c; end;
    select ';' as "semi;colon"; /* ; */ ;
    create function f() returns int as $$ begin select 1; end; $$ language plpgsql;
    select 2
    """
    texts = [statement.duckdb().strip() for statement in split(query, [], strict=True)]
    assert len(texts) == 4
    assert texts[1].startswith("select ';' as")
    assert texts[3] == "select 2"


def test_parameters_are_found_outside_of_strings_comments_and_casts():
    query = """select :a::int, ':a', ":a", '12:30', x[1:2] -- :a"""
    (statement,) = split(query, ["a"], strict=True)
    assert statement.names == {"a"}
    assert statement.duckdb().startswith("select $a::int, ':a', \":a\"")
    assert statement.sqlalchemy().startswith("select :a\\:\\:int, '\\:a'")


def test_a_missing_parameter_names_the_nearest():
    with pytest.raises(StepFailed, match="needs a parameter 'amont'; did you mean 'amount'"):
        split("select :amont", ["amount"], strict=True)


def test_a_colon_of_duckdbs_own_syntax_is_left_alone():
    (statement,) = split("select {'k':x, 'p': :p}", ["p"], strict=False)
    assert statement.duckdb() == "select {'k':x, 'p': $p}"


@pytest.mark.parametrize("query", ["", " ;; ", "-- nothing\n;"])
def test_a_query_without_a_statement_is_refused(query: str):
    with pytest.raises(StepFailed, match="no statement"):
        split(query, [], strict=True)
