"""Finding and reading the documents of a project."""

import os

import pytest

from aether_dagster.errors import ScriptError, SettingsError
from aether_dagster.project import (
    find_pipeline,
    find_pipelines,
    load_pipeline,
    read_document,
    read_documents,
)


def write(folder, name, pipeline=None, more=""):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.aether.yaml"
    path.write_text(
        f'version: "2.1"\nmetadata: {{name: {pipeline or name}}}\n{more}'
        "pipeline: {steps: [{id: a, type: core/echo}]}\n"
    )
    return path


def test_the_one_pipeline_of_a_folder_is_found(tmp_path, monkeypatch):
    path = write(tmp_path, "one")
    write(tmp_path / "below", "two")
    (tmp_path / "other.yaml").write_text("x")
    (tmp_path / "folder.aether.yaml").mkdir()
    assert find_pipeline(tmp_path) == path
    monkeypatch.chdir(tmp_path)
    assert str(find_pipeline()) == "one.aether.yaml"


def test_several_pipelines_are_listed(tmp_path):
    write(tmp_path, "b")
    write(tmp_path, "a")
    with pytest.raises(SettingsError, match=r"name one of a\.aether\.yaml, b\.aether\.yaml"):
        find_pipeline(tmp_path)


def test_no_pipeline_is_told_with_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="aetherscript init"):
        find_pipeline(tmp_path)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        find_pipeline(tmp_path / "nowhere")


def test_pipelines_below_a_folder_are_found_but_not_in_hidden_ones(tmp_path):
    expected = [write(tmp_path / "x" / "y", "b"), write(tmp_path, "a")]
    write(tmp_path / ".aether", "c")
    assert find_pipelines(tmp_path) == sorted(expected)


def test_messages_name_the_file_as_it_was_given(tmp_path, monkeypatch):
    write(tmp_path, "one", more="colour: red\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScriptError, match=r"^one\.aether\.yaml:3:1: Unknown key 'colour'"):
        read_document("one.aether.yaml")
    with pytest.raises(ScriptError, match=r"^\S+/one\.aether\.yaml:3:1: "):
        read_document(tmp_path)


def test_variables_environment_and_plugins_are_given_on(tmp_path):
    more = "variables: {V: 1}\nplugins: [{name: P}]\ncontext: {artifacts: {x: '${E}'}}\n"
    path = write(tmp_path, "one", more=more)
    known = {"P": ["1.0.0"]}
    document = load_pipeline(path, variables={"V": "2"}, environ={"E": ""}, known_plugins=known)
    assert document.pipeline.variables == {"V": 2}
    with pytest.raises(ScriptError, match="neither a variable nor in the environment"):
        read_document(path, environ={}, known_plugins=known)
    with pytest.raises(ScriptError, match="'P' is not installed"):
        read_document(path)


def test_a_file_which_cannot_be_read_is_one_clear_error(tmp_path):
    with pytest.raises(SettingsError, match=r"There is no file 'nowhere\.aether\.yaml'"):
        read_document("nowhere.aether.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_document("with\0zero.aether.yaml")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be read: Not a directory"):
        read_document(tmp_path / "file" / "x.aether.yaml")


def test_a_file_of_ten_megabytes_is_refused_without_reading_all_of_it(tmp_path):
    path = tmp_path / "big.aether.yaml"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 10 * 1024**2)
    with pytest.raises(ScriptError, match=r"big.aether.yaml:1:1: .* found 10485760 bytes"):
        read_document(path)


def test_all_documents_of_a_folder_are_read_and_all_problems_told(tmp_path):
    write(tmp_path / "a", "one")
    write(tmp_path / "b", "two")
    assert [d.name for d in read_documents(tmp_path)] == ["one", "two"]
    files = [tmp_path / "b" / "two.aether.yaml", tmp_path / "a"]
    assert [d.name for d in read_documents(*files)] == ["two", "one"]
    write(tmp_path / "c", "three", more="colour: red\n")
    write(tmp_path / "d", "four", pipeline="one")
    with pytest.raises(ScriptError) as caught:
        read_documents(tmp_path)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert "Unknown key 'colour'" in told[0]
    assert told[1].endswith("has a pipeline of the name 'one' too; rename one")
