"""What looks like a credential."""

import pytest

from aether_dagster.script.credentials import is_credential_name, url_passwords, without_password


@pytest.mark.parametrize(
    "name",
    [
        *("password", "DB_PASSWORD", "dbPassword", "api_key", "apikey", "X-Api-Key", "pwd"),
        *("client_secret", "secretKey", "aws_secret_access_key", "token", "Authorization"),
    ],
)
def test_names_of_credentials(name):
    assert is_credential_name(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "token_url", "secret_store", "key", "monkey", "path", "author", "keyword"],
)
def test_names_of_other_things(name):
    assert not is_credential_name(name)


@pytest.mark.parametrize(
    ("text", "passwords"),
    [
        ("postgresql://user:pw@host/db", ["pw"]),
        ("postgresql+psycopg://user:p/w@host/db", ["p/w"]),
        ("https://user:pw@host/x", ["pw"]),
        ("connect to redis://:pw@host:6379 now", ["pw"]),
        ("postgresql://${USER}:${secrets.a/b}@host", ["${secrets.a/b}"]),
        ("https://host/x?a=1&api_key=abc#top", ["abc"]),
        ("postgresql://host/db?user=me&password=pw", ["pw"]),
        ("http://host:8080/a@b", []),
        ("https://user@host/x", []),
        ("${steps.a.output}", []),
        ("mail me: a@b.c", []),
    ],
)
def test_passwords_in_urls(text, passwords):
    assert list(url_passwords(text)) == passwords
    assert without_password(text).count("***") == len(passwords)
    for password in passwords:
        assert f":{password}@" not in without_password(text)
