"""Finds and reads the pipeline documents of a project; the script ring itself touches no files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aether_dagster.errors import Problem, ScriptError, SettingsError
from aether_dagster.plugins.discovery import known_plugins as installed_beside
from aether_dagster.script import Document, parse_document
from aether_dagster.script.loader import MAX_BYTES, too_large

SUFFIX = ".aether.yaml"


def find_pipeline(folder: str | os.PathLike[str] = ".") -> Path:
    """Return the one pipeline document of a folder (spec 6).

    Args:
        folder: The folder; those below it do not count.

    Raises:
        SettingsError: There is none, or more than one; it lists them.
    """
    place = Path(folder)
    found = sorted(p for p in _entries(place) if p.name.endswith(SUFFIX) and not p.is_dir())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise SettingsError(f"{_shown(place)} holds several pipelines; name one of {names}.")
    raise SettingsError(
        f"{_shown(place)} holds no pipeline. Name one, or write <name>{SUFFIX}; "
        "`aetherscript init` makes an example."
    )


def find_pipelines(folder: str | os.PathLike[str]) -> list[Path]:
    """Return every pipeline document in a folder and below it, sorted.

    Hidden folders are left out.

    Raises:
        SettingsError: The folder cannot be read.
    """
    return sorted(_walk(Path(folder)))


def read_document(
    path: str | os.PathLike[str],
    *,
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    known_plugins: Mapping[str, Sequence[str]] | None = None,
) -> Document:
    """Read and check a pipeline document (spec 2).

    Args:
        path: The file, named in messages as it is given; or a folder which holds exactly one.
        variables: Values for its variables (`--var`).
        environ: The environment in which it shall run. Unless given, missing environment
            variables are no problem yet: definitions are built on other machines too.
        known_plugins: Installed versions by plugin name; unless given, what is installed here or
            lies in `plugins/` beside the document.

    Raises:
        ScriptError: With every problem of the document.
        SettingsError: The file cannot be read.
        PluginError: The metadata of a plugin beside the document cannot be read.
    """
    file = Path(path)
    if file.is_dir():
        file = find_pipeline(file)
    shown = str(file)
    try:
        with file.open("rb") as stream:
            source = stream.read(MAX_BYTES + 1)
            size = os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise SettingsError(f"There is no file {shown!r}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{shown!r} cannot be read: {reason}.") from None
    if len(source) > MAX_BYTES:
        raise ScriptError([too_large(shown, max(size, len(source)))])
    return parse_document(
        source,
        file=shown,
        variables=variables,
        environ=environ,
        known_plugins=installed_beside(file.parent) if known_plugins is None else known_plugins,
    )


def read_documents(
    *paths: str | os.PathLike[str],
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    known_plugins: Mapping[str, Sequence[str]] | None = None,
) -> list[Document]:
    """Read documents, and every document in folders and below them, sorted by path in each.

    Args:
        paths: Files and folders.
        variables: As of `read_document`, for each document.
        environ: As of `read_document`.
        known_plugins: As of `read_document`.

    Raises:
        ScriptError: With every problem of all of them; two pipelines of one name are one.
        SettingsError: A file cannot be read.
    """
    places = [Path(path) for path in paths]
    documents: list[Document] = []
    problems: list[Problem] = []
    files: dict[str, str] = {}
    for file in (f for p in places for f in (find_pipelines(p) if p.is_dir() else [p])):
        try:
            document = read_document(
                file, variables=variables, environ=environ, known_plugins=known_plugins
            )
        except ScriptError as error:
            problems.extend(error.problems)
            continue
        documents.append(document)
        other = files.setdefault(document.name, document.file)
        if other != document.file:
            line, column = document.position(("metadata", "name")) or (None, None)
            message = f"{other} has a pipeline of the name {document.name!r} too; rename one"
            problems.append(Problem(document.file, line, column, message))
    if problems:
        raise ScriptError(problems)
    return documents


load_pipeline = read_document


def _walk(folder: Path) -> Iterator[Path]:
    for path in _entries(folder):
        if path.is_dir():
            if not path.name.startswith("."):
                yield from _walk(path)
        elif path.name.endswith(SUFFIX):
            yield path


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise SettingsError(
            f"The folder {str(folder)!r} cannot be read: {error.strerror}."
        ) from None


def _shown(folder: Path) -> str:
    return "This folder" if str(folder) == "." else f"The folder {str(folder)!r}"
