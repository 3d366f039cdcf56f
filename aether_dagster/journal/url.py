"""Where a journal is: URLs, read and shown without what is secret in them."""

import os
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from aether_dagster.errors import JournalError


def parse(url: str) -> URL:
    """Returns the URL of a journal; a path is one of SQLite. Raises JournalError."""
    if "://" not in url:
        url = URL.create("sqlite", database=url).render_as_string()
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Its message could hold a part of the password.
        raise JournalError("The journal's URL cannot be read; is it sqlite:///path?") from None
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise JournalError("A journal in memory would be lost; use sqlite:///path/state.db.")
        return URL.create("sqlite", database=os.fspath(Path(parsed.database).resolve()))
    return parsed


def shown(url: URL) -> str:
    """Returns a URL as it may be shown."""
    hidden = {key: "***" for key in url.query if "password" in key}
    if hidden:
        url = url.update_query_dict(hidden)
    return url.render_as_string(hide_password=True)
