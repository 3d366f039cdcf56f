import sys
from pathlib import Path

import pytest

from aether_dagster.errors import StepFailed
from aether_dagster.steps.imports import import_from, load_callable


def document(folder: Path, value: int) -> Path:
    (folder / "twin_jobs").mkdir(parents=True)
    (folder / "twin_jobs/__init__.py").write_text("")
    (folder / "twin_jobs/part.py").write_text(f"def value(): return {value}")
    return folder


def test_two_documents_each_get_their_own_module_of_one_name(tmp_path: Path):
    one, two = document(tmp_path / "one", 1), document(tmp_path / "two", 2)
    first = load_callable("twin_jobs.part:value", one)
    second = load_callable("twin_jobs.part:value", two)
    again = load_callable("twin_jobs.part:value", one)
    assert (first(), second(), again()) == (1, 2, 1)


def test_a_module_is_imported_once_for_a_document(tmp_path: Path):
    (tmp_path / "imported_once.py").write_text("loaded = []")
    import_from("imported_once", tmp_path).loaded.append(1)
    assert import_from("imported_once", tmp_path).loaded == [1]


def test_a_module_which_another_hides_is_an_error_and_not_the_wrong_code(tmp_path: Path):
    (tmp_path / "json.py").write_text("def load(): pass")
    with pytest.raises(StepFailed, match=r"'json' of .* is hidden by .*json/__init__\.py"):
        load_callable("json:load", tmp_path)


def test_the_python_path_is_searched_after_the_documents_folder(tmp_path: Path):
    assert load_callable("posixpath:join", tmp_path)("a", "b") == "a/b"


def test_code_of_the_document_may_import_more_while_it_runs(tmp_path: Path):
    (tmp_path / "lazy_jobs.py").write_text(
        "def run():\n    import lazy_part\n    return lazy_part.VALUE\n"
    )
    (tmp_path / "lazy_part.py").write_text("VALUE = 5")
    assert load_callable("lazy_jobs:run", tmp_path)() == 5
    assert sys.path.count(str(tmp_path.resolve())) == 1


def test_a_file_which_appeared_since_the_last_import_is_found(tmp_path: Path):
    (tmp_path / "early_part.py").write_text("")
    import_from("early_part", tmp_path)
    (tmp_path / "late_part.py").write_text("")
    assert import_from("late_part", tmp_path).__name__ == "late_part"
