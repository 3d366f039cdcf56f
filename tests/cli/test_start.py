"""What a command imports, compiles and collects before its work begins."""

import gc
import subprocess
import sys

import pytest

from aether_dagster.cli.start import uncollected_start
from aether_dagster.orchestration import code_location
from aether_dagster.orchestration.code_location import load_repository, reconstructable_pipeline
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.project import load_pipeline


def test_garbage_is_collected_again_once_a_command_has_started() -> None:
    assert gc.isenabled()
    with uncollected_start() as started:
        assert not gc.isenabled()
        started()
        assert gc.isenabled()
    gc.unfreeze()
    with pytest.raises(RuntimeError), uncollected_start():
        raise RuntimeError
    assert gc.isenabled()


def test_a_run_compiles_its_document_once(tmp_path, monkeypatch) -> None:
    file = tmp_path / "p.aether.yaml"
    file.write_text(
        'version: "2.1"\nmetadata: {name: p}\npipeline:\n  steps:\n'
        "    - {id: a, type: core/echo, args: {message: x}}\n"
    )
    compiled: list[object] = []
    compile_documents = code_location.compile_documents

    def count(documents, **more):
        compiled.append(documents)
        return compile_documents(documents, **more)

    monkeypatch.setattr(code_location, "compile_documents", count)
    settings = AetherSettings().anchored(tmp_path)
    job = reconstructable_pipeline(
        load_pipeline(file), variables={}, settings=settings, compiled_here=True
    )
    first = job.get_definition()
    repository = load_repository(str(file), {}, False, settings.to_json())
    assert repository.get_job("p") is first
    assert len(compiled) == 1


def test_validating_imports_neither_dagster_nor_a_database() -> None:
    code = (
        "import sys\n"
        "from aether_dagster.cli.main import main\n"
        "main(['validate', '--help'])\n"
        "import aether_dagster.cli.validate, aether_dagster.project, aether_dagster.values.store\n"
        "print(sorted({'dagster', 'sqlalchemy', 'fsspec', 'rich', 'asyncio'} & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"
