"""What readers do between the lines, and what they cannot do on any machine.

A block is named by its page and its first line, a command by its page and its own line. Tests fail
where an entry names nothing any more, and where a block is neither done nor listed.
"""

from typing import NamedTuple

from tests.pages.blocks import STARTER


class NotRun(NamedTuple):
    """A block, or a command of one, which is not run.

    Args:
        page: The page's path.
        line: The block's first line; in a block of commands, the command.
        why: Why it is not run.
        instead: The tests, as pytest names them, which check what it says.
    """

    page: str
    line: str
    why: str
    instead: tuple[str, ...]


EXPLANATION = "docs/explanation"
HOW_TO = "docs/how-to"
REFERENCE = "docs/reference"
SPEC = "docs/spec"

_INSTALLS = "fetches packages"
_SERVES = "serves Dagster's UI until Ctrl-C, and takes long to start"
_SHOWS = "is what a command prints"
_DRAWS = "is a drawing"
_CALLS = "calls a server of an example"

_EXTRAS = ("tests/test_docs.py::test_extras_which_pages_name_exist",)
_EXAMPLES = ("tests/plugins/test_examples.py::test_the_tests_of_an_example_pass",)
_PACKAGES = (
    "tests/plugins/test_examples.py::test_they_are_packages_which_a_fresh_environment_installs",
)
_COMMANDS = ("tests/cli/test_docs.py::test_every_command_is_described",)
_UI = ("tests/cli/test_ui.py::test_the_ui_serves_the_pipelines_until_ctrl_c",)
_NAMES = ("tests/snapshot/test_naming.py::test_files_have_the_documented_names",)
_UNITS = ("tests/deploy/test_deploy.py::test_units_are_what_systemd_takes",)
_DUMPS = ("tests/upgrade/test_upgrade.py::test_so_is_one_in_postgresql",)
_YAML = "tests/test_docs.py::test_a_yaml_block_is_what_the_product_takes"
_REQUESTS = (_YAML, "tests/steps/test_http_request.py::test_credentials_are_sent")
_TUTORIAL = "tests/example/test_tutorial.py"
_RESUME = ("tests/pages/test_pages.py::test_resuming_prints_what_its_page_shows",)

NOT_RUN = [
    NotRun(
        "README.md",
        "python3 -m venv .venv && .venv/bin/pip install -q '.[example]' && .venv/bin/aetherscript "
        "run definitions/pipelines/earthquakes --state-history=./executions/",
        _INSTALLS,
        ("tests/example/test_example.py::test_the_readmes_command_succeeds",),
    ),
    NotRun(
        "README.md",
        "2026-11-23T06:23:49Z  started    earthquakes  pipeline_01M83H6E  13 steps",
        _SHOWS,
        ("tests/example/test_example.py::test_it_prints_what_the_readme_shows",),
    ),
    NotRun(
        "README.md",
        ".venv/bin/aetherscript ui definitions/pipelines/earthquakes        # "
        "the same in Dagster's UI",
        _SERVES,
        _UI,
    ),
    NotRun(
        "README.md",
        "tests/run",
        "runs this test",
        (
            ""
            "tests/test_distribution.py::test_ci_tests_the_installed_product_and_not_the_source_tree",
        ),
    ),
    NotRun(
        "docs/decisions/0001-rings.md",
        "cli",
        _DRAWS,
        ("tests/test_docs.py::test_the_architecture_is_the_one_which_is_checked",),
    ),
    NotRun(
        f"{EXPLANATION}/architecture.md",
        "cli",
        _DRAWS,
        ("tests/test_docs.py::test_the_architecture_is_the_one_which_is_checked",),
    ),
    NotRun(
        f"{EXPLANATION}/architecture.md",
        "YAML ─script→ Document ─orchestration→ assets or ops ─executor→ step ─deltas→ manager "
        "─commit→ journal ─tail→ sidecar → clients",
        _DRAWS,
        (),
    ),
    NotRun(
        f"{HOW_TO}/deploy-a-fleet.md",
        "pip install 'aether-dagster[http,live,postgres,s3,sealed,sql]' dagster-postgres "
        "dagster-celery 'celery[redis]'",
        _INSTALLS,
        _EXTRAS,
    ),
    NotRun(
        f"{HOW_TO}/deploy-a-fleet.md",
        "dagster-celery worker start -A dagster_celery.app -y /etc/dagster/celery.yaml",
        "serves until it is ended, and needs a broker",
        (
            "tests/deploy/test_deploy.py::test_celery_takes_its_settings",
            "tests/fleet/test_engines.py::test_steps_run_on_several_hosts_and_hand_values_over_in_"
            "the_object_store",
        ),
    ),
    NotRun(
        f"{HOW_TO}/operate.md",
        "cp deploy/systemd/*.service /etc/systemd/system/",
        "needs systemd",
        _UNITS,
    ),
    NotRun(
        f"{HOW_TO}/operate.md",
        "systemctl enable --now dagster-code dagster-webserver dagster-daemon aether-sidecar "
        "dagster-celery@1 dagster-celery@2",
        "needs systemd",
        _UNITS,
    ),
    NotRun(
        f"{HOW_TO}/operate.md",
        "pg_dump --format=custom --file=dagster.dump dagster",
        "needs a deployment's PostgreSQL",
        _DUMPS,
    ),
    NotRun(
        f"{HOW_TO}/operate.md",
        "UPDATE aether_versions SET place = '3';",
        "needs a deployment's PostgreSQL",
        _DUMPS,
    ),
    NotRun(
        f"{HOW_TO}/read-the-live-page.md",
        "http://127.0.0.1:8787/#token=…&execution=pipeline_01HWS7Q2&view=timeline&node=load"
        "&version=120",
        "is an address",
        ("tests/page/test_views.py::test_an_address_leads_to_the_same_place_again",),
    ),
    NotRun(f"{HOW_TO}/read-the-state-history.md", "executions/", _DRAWS, _NAMES),
    NotRun(
        f"{HOW_TO}/resume-a-failed-run.md",
        "failed  sales  pipeline_01M8ETDP  3 succeeded, 1 failed, 1 pending  in 41.2 s",
        _SHOWS,
        _RESUME,
    ),
    NotRun(
        f"{HOW_TO}/resume-a-failed-run.md",
        "resuming  pipeline_01M8ETDP  2 to run, 3 reused",
        _SHOWS,
        _RESUME,
    ),
    NotRun(
        f"{HOW_TO}/resume-a-failed-run.md",
        "sales 2.1.0, resuming pipeline_01M8ETDP: 3 to run, 2 reused",
        _SHOWS,
        _RESUME,
    ),
    NotRun(
        f"{HOW_TO}/seal-the-state-history.md",
        "pip install 'aether-dagster[sealed]'",
        _INSTALLS,
        _EXTRAS,
    ),
    NotRun(
        f"{HOW_TO}/use-in-a-dagster-project.md",
        "dg scaffold defs aether_dagster.AetherPipelineComponent nightly",
        "needs a project of create-dagster",
        ("tests/orchestration/test_component.py::test_what_was_scaffolded_passes_its_checks",),
    ),
    NotRun(
        f"{HOW_TO}/use-in-a-dagster-project.md",
        "dg check defs",
        "needs a project of create-dagster",
        ("tests/orchestration/test_component.py::test_what_was_scaffolded_passes_its_checks",),
    ),
    NotRun(
        f"{HOW_TO}/use-in-a-dagster-project.md",
        "dg dev",
        _SERVES,
        ("tests/orchestration/test_component.py::test_dg_dev_shows_it_and_a_browser_runs_it",),
    ),
    NotRun(
        f"{HOW_TO}/use-in-a-dagster-project.md",
        "- id: convert",
        "takes the value of an asset of a code location",
        (
            _YAML,
            "tests/orchestration/test_assets.py::"
            "test_a_step_takes_the_value_of_an_asset_which_is_not_ours",
        ),
    ),
    NotRun(f"{HOW_TO}/use-secrets.md", 'version: "2.1"', _CALLS, _REQUESTS),
    NotRun(f"{HOW_TO}/use-secrets.md", "- id: announce", _CALLS, _REQUESTS),
    NotRun(f"{HOW_TO}/watch-live.md", "pip install 'aether-dagster[live]'", _INSTALLS, _EXTRAS),
    NotRun(
        f"{HOW_TO}/watch-live.md",
        "ssh -L 8787:127.0.0.1:8787 build-host",
        "needs another host",
        ("tests/sidecar/test_security.py::test_only_its_own_names_are_answered_on_any_port",),
    ),
    NotRun(
        f"{HOW_TO}/watch-live.md",
        "aetherscript sidecar --host 0.0.0.0 --allow-host build.example.org --tls-cert cert.pem "
        "--tls-key key.pem",
        "would listen beyond this machine",
        ("tests/sidecar/test_security.py::test_with_tls_it_serves_off_loopback_by_its_name",),
    ),
    NotRun(f"{HOW_TO}/write-a-plugin.md", "plugins/row-guard/", _DRAWS, ()),
    NotRun(
        f"{HOW_TO}/write-a-plugin.md",
        "pip wheel --no-deps -w dist plugins/row-guard",
        _INSTALLS,
        _PACKAGES,
    ),
    NotRun(
        f"{HOW_TO}/write-a-plugin.md",
        "pip install dist/rowguard-1.0.0-py3-none-any.whl",
        _INSTALLS,
        _PACKAGES,
    ),
    NotRun(
        f"{REFERENCE}/command-line.md",
        "aetherscript run [PIPELINE]            run a pipeline to its end",
        "is a list of commands",
        _COMMANDS,
    ),
    NotRun(
        f"{REFERENCE}/command-line.md",
        "2023-07-20T13:34:52Z  started    nightly-data-sync  pipeline_01H3XYZ9  3 steps",
        _SHOWS,
        (f"{_TUTORIAL}::test_the_run_fails_and_retries_as_shown",),
    ),
    NotRun(
        f"{REFERENCE}/command-line.md",
        "aetherscript plan --format dot | dot -Tsvg > plan.svg",
        "needs Graphviz",
        ("tests/cli/test_plan.py::test_dot_draws_the_same_graph",),
    ),
    NotRun(
        f"{REFERENCE}/command-line.md",
        "aetherscript history show s3://team/executions/2023-07-20_133452_pipeline_01H3XYZ9",
        "needs an object store",
        ("tests/cli/test_history.py::test_show_tells_the_nodes_and_then_what_failed",),
    ),
    NotRun(f"{REFERENCE}/state-history.md", "executions/", _DRAWS, _NAMES),
    NotRun(
        f"{REFERENCE}/values.md",
        "<store>/",
        _DRAWS,
        ("tests/values/test_naming.py::test_ordinary_names_stay_readable",),
    ),
    NotRun(
        f"{SPEC}/1-state.md",
        '{"pipeline": {...}, "nodes": {"<name>": {...}}, "context": {...}}',
        _DRAWS,
        (),
    ),
    NotRun(
        f"{SPEC}/1-state.md",
        "pending → executing → succeeded | failed | retrying",
        _DRAWS,
        ("tests/state/test_machine.py::test_a_writer_may_nothing_else",),
    ),
    NotRun(
        f"{SPEC}/2-pipeline-document.md",
        "# yaml-language-server: $schema=./aetherscript-2.1.schema.json",
        "needs a Vault",
        (_YAML,),
    ),
    NotRun(f"{SPEC}/3-history.md", "executions/", _DRAWS, _NAMES),
    NotRun(
        f"{SPEC}/6-cli.md",
        "aetherscript run [PIPELINE] [--var K=V]… [--select SELECTION] [--workers N]",
        "is a list of commands",
        _COMMANDS,
    ),
    NotRun("docs/tutorial.md", "python3 -m venv .venv", _INSTALLS, _EXTRAS),
    NotRun("docs/tutorial.md", ".venv/bin/pip install -q '.[ui]'", _INSTALLS, _EXTRAS),
    NotRun("docs/tutorial.md", "source .venv/bin/activate", _INSTALLS, _EXTRAS),
    NotRun(
        "docs/tutorial.md",
        'version: "2.1"',
        "is the file which `init` makes",
        (f"{_TUTORIAL}::test_the_pipeline_is_the_one_which_init_makes",),
    ),
    NotRun(
        "docs/tutorial.md",
        "starter 0.1.0, 4 steps",
        _SHOWS,
        (f"{_TUTORIAL}::test_the_pipeline_is_the_one_which_init_makes",),
    ),
    NotRun(
        "docs/tutorial.md",
        "starter.aether.yaml:18:7: step 'read_orders': unknown key 'retires'; expected one of id, "
        "type, description, args, dependsOn, retries, retry, timeout, parallel; "
        "did you mean retries?",
        _SHOWS,
        (f"{_TUTORIAL}::test_a_mistake_is_told_as_shown",),
    ),
    NotRun(
        "docs/tutorial.md",
        "def read_orders(path: str, context: Any) -> list[dict[str, Any]]:",
        "stands in place of the beginning of a function",
        (f"{_TUTORIAL}::test_the_run_fails_and_retries_as_shown",),
    ),
    NotRun(
        "docs/tutorial.md",
        "2026-11-23T06:05:06Z  started    starter  pipeline_01M83G44  4 steps",
        _SHOWS,
        (f"{_TUTORIAL}::test_the_run_fails_and_retries_as_shown",),
    ),
    NotRun(
        "docs/tutorial.md",
        "state_final.json",
        _SHOWS,
        (f"{_TUTORIAL}::test_the_files_are_those_shown",),
    ),
    NotRun(
        "docs/tutorial.md",
        "failed  read_orders  attempt 3  FileNotFoundError: [Errno 2] No such file or directory: "
        "'/home/you/sales/missing.csv'",
        _SHOWS,
        (f"{_TUTORIAL}::test_a_missing_file_fails_for_good_as_shown",),
    ),
    NotRun("docs/tutorial.md", "aetherscript ui", _SERVES, _UI),
    NotRun(
        "examples/README.md",
        "pip install ./examples/data-validator ./examples/slack-notifier",
        _INSTALLS,
        _PACKAGES,
    ),
    NotRun(
        "examples/data-validator/README.md",
        "pip install ./examples/data-validator",
        _INSTALLS,
        _PACKAGES,
    ),
    NotRun(
        "examples/slack-notifier/README.md",
        "pip install ./examples/slack-notifier",
        _INSTALLS,
        _PACKAGES,
    ),
    NotRun("examples/slack-notifier/README.md", 'version: "2.1"', _CALLS, (_YAML, *_EXAMPLES)),
    NotRun(
        STARTER,
        "aetherscript ui                                    # the same pipeline "
        "in Dagster's web UI",
        _SERVES,
        _UI,
    ),
]

NEEDED = ("curl", "jq")
"""Programs which many machines have: where one is missing, the test says so and skips."""

_RUN = "aetherscript run --quiet --state-history=./executions/"
_EXAMPLE = "cp -r $REPOSITORY/examples/{} plugins/"
_STATE_KEY = "aetherscript key generate {}"

BEFORE = {
    "README.md": (_RUN, "mkdir -p .venv", "ln -s $PROGRAMS .venv/bin"),
    f"{HOW_TO}/check-outputs.md": (_EXAMPLE.format("data-validator"),),
    f"{HOW_TO}/recover-executions.md": (_RUN,),
    f"{HOW_TO}/resume-a-failed-run.md": (_RUN,),
    f"{HOW_TO}/seal-the-state-history.md": ("ln -s $HOME/state.key etc/aether/state.key",),
    f"{HOW_TO}/watch-live.md": (_RUN,),
    f"{REFERENCE}/command-line.md": (
        _STATE_KEY.format("new.key"),
        _STATE_KEY.format("old.key"),
    ),
    f"{REFERENCE}/journal.md": (
        "export AETHERSCRIPT_JOURNAL=sqlite:///path/state.db",
        "aetherscript run busy &",
        "until [ -e path/begun ]; do sleep 0.1; done",
    ),
    f"{REFERENCE}/live-protocol.md": (_RUN,),
    f"{REFERENCE}/state-history.md": (_RUN,),
    f"{SPEC}/4-live-protocol.md": (_RUN,),
    "examples/README.md": (_EXAMPLE.format("data-validator"), _EXAMPLE.format("slack-notifier")),
    "examples/data-validator/README.md": (_EXAMPLE.format("data-validator"),),
    STARTER: ("aetherscript init starter", "cd starter"),
}
"""What a page presupposes: commands which a reader has given before, by page; "
"`&` lets one go on."""

FILES = {
    (
        f"{HOW_TO}/check-outputs.md",
        '{"extract": {"min_rows": 1, "not_null": ["id"], "unique": ["id"]}}',
    ): "rules.json",
    (f"{HOW_TO}/partition-a-pipeline.md", 'version: "2.1"'): "sales.aether.yaml",
    (f"{HOW_TO}/write-a-plugin.md", "[build-system]"): "plugins/row-guard/pyproject.toml",
    (
        f"{HOW_TO}/write-a-plugin.md",
        "from aethersdk import Plugin, StateHook, StateVeto",
    ): "plugins/row-guard/src/row_guard/__init__.py",
    (f"{HOW_TO}/write-a-plugin.md", 'version: "2.1"'): "nightly.aether.yaml",
    (f"{HOW_TO}/write-a-state-hook.md", "# plugins/state_logger.py"): "plugins/state_logger.py",
    (
        "examples/data-validator/README.md",
        '{"extract": {"min_rows": 1, "columns": ["id", "amount"], "not_null": '
        '["id"], "unique": ["id"],',
    ): "rules.json",
}
"""Blocks which are files: where a reader puts them, before anything is run."""

SERVES = {
    (f"{HOW_TO}/watch-live.md", "aetherscript sidecar"),
    (f"{HOW_TO}/watch-live.md", "aetherscript replay pipeline_01H3XYZ9 --speed 10"),
    (f"{REFERENCE}/command-line.md", "aetherscript replay pipeline_01H3XYZ9 --speed 10"),
    (
        f"{REFERENCE}/command-line.md",
        "aetherscript replay executions/2023-07-20_133452_pipeline_01H3XYZ9",
    ),
}
"""Commands which serve until Ctrl-C: they are started, and ended after the page's last block."""

FAILS = {
    (
        "docs/tutorial.md",
        "aetherscript run --state-history=./executions/ --var ORDERS=missing.csv",
    ): 1,
}
"""Commands of which the page says that they fail, and with which exit status."""

TYPED = {
    (
        f"{HOW_TO}/use-secrets.md",
        "aetherscript secrets set /etc/sales/secrets.sealed ORDERS_TOKEN   # "
        "asks for it, or takes standard input",
    ): "token-of-orders\n",
}
"""What a reader types when a command asks."""
