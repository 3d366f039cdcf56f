"""AetherSettings: what overrides what, and where the journal lives."""

from pathlib import Path

import dagster as dg
import pytest

from aether_dagster.errors import SettingsError
from aether_dagster.orchestration.settings import AetherSettings


def test_environment_overrides_settings_and_leaves_the_rest() -> None:
    settings = AetherSettings(journal="sqlite:///a.db", history="here", hooks=("a",))
    overridden = settings.with_environment(
        {
            "AETHERSCRIPT_JOURNAL": "sqlite:///b.db",
            "AETHERSCRIPT_STATE_HISTORY": "",
            "AETHERSCRIPT_STATE_HISTORY_REQUIRED": "true",
            "AETHERSCRIPT_HOOKS": "b:c",
        }
    )
    assert overridden == AetherSettings(
        journal="sqlite:///b.db", history="here", history_required=True, hooks=("b", "c")
    )


def test_a_flag_which_is_none_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="AETHERSCRIPT_STATE_HISTORY_REQUIRED is 'perhaps'"):
        AetherSettings().with_environment({"AETHERSCRIPT_STATE_HISTORY_REQUIRED": "perhaps"})


def test_relative_paths_are_anchored_and_urls_are_not(tmp_path: Path) -> None:
    settings = AetherSettings(
        journal="sqlite:///state/j.db",
        history="./executions/",
        artifacts="s3://bucket/values",
        hooks=("hooks.state_logger", "hooks/other.py"),
    )
    anchored = settings.anchored(tmp_path)
    assert anchored.journal == f"sqlite:///{tmp_path}/state/j.db"
    assert anchored.history == f"{tmp_path}/executions"
    assert anchored.artifacts == "s3://bucket/values"
    assert anchored.hooks == ("hooks.state_logger", f"{tmp_path}/hooks/other.py")
    assert anchored.anchored(Path("/elsewhere")) == anchored


def test_settings_survive_the_way_to_another_process() -> None:
    settings = AetherSettings(journal="j.db", history_required=True, hooks=("a", "b"))
    assert AetherSettings.from_json(settings.to_json()) == settings


def test_an_unknown_setting_is_told_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no setting 'jornal'.*journal, history"):
        AetherSettings.from_mapping({"jornal": "x"})


def test_the_journal_lies_in_the_instance_and_values_beside_it(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert AetherSettings().journal_url(instance) == f"sqlite:///{tmp_path}/aether_journal.db"
        assert AetherSettings().artifacts_url(instance) == f"{tmp_path}/aether_artifacts"


def test_a_set_journal_wins_and_takes_the_values_with_it(tmp_path: Path) -> None:
    settings = AetherSettings(journal=str(tmp_path / "own" / "j.db"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert settings.journal_url(instance) == f"sqlite:///{tmp_path}/own/j.db"
        assert settings.artifacts_url(instance) == f"{tmp_path}/own/aether_artifacts"


@pytest.mark.postgres
def test_the_journal_follows_an_instance_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    pytest.importorskip("dagster_postgres")
    home = tmp_path / "home"
    home.mkdir()
    url = postgres_url.replace("postgresql+psycopg:", "postgresql+psycopg2:")
    (home / "dagster.yaml").write_text(
        f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{url}'}}}}\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert AetherSettings().journal_url(instance) == postgres_url
        assert AetherSettings().artifacts_url(instance) == f"{home}/aether_artifacts"
