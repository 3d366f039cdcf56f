"""Links which leave `docs/` lead to files of the repository, which the site does not serve.

The pages are read in the repository as well, where such a link works; on the site it becomes the
file's name.
"""

import posixpath
import re

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s#]+)[^)]*\)")


def on_page_markdown(markdown, page, **_):
    """Called by MkDocs with each page's text."""

    def named(link):
        target = posixpath.normpath(posixpath.join("docs", page.file.src_uri, "..", link[2]))
        if target.startswith("docs/"):
            return link[0]
        return link[1] if link[1].strip("`") == target else f"{link[1]} (`{target}`)"

    return _LINK.sub(named, markdown)
