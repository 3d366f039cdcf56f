import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.manager.redaction import Redaction
from aether_dagster.steps import StepContext, run_step

Started = Callable[[], list[psutil.Process]]
Find = Callable[[str], list[psutil.Process]]


def shell(context: StepContext, command: Any, **args: Any) -> Any:
    return run_step("shell/run", {"command": command, **args}, context)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_output_is_given_and_shown_as_it_comes(
    context: StepContext, capsys: pytest.CaptureFixture[str]
):
    assert shell(context, "echo out; echo err >&2") == {
        "exit_code": 0,
        "stdout": "out\n",
        "stderr": "err\n",
    }
    assert capsys.readouterr() == ("out\n", "err\n")


def test_a_list_is_started_without_a_shell(context: StepContext):
    assert shell(context, ["printf", "%s|", "$HOME; ls", 3, True], output="text") == (
        "$HOME; ls|3|true|"
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [("text", '[1,\n "ä"]'), ("lines", ["[1,", ' "ä"]']), ("json", [1, "ä"])],
)
def test_output_has_the_form_which_is_asked_for(context: StepContext, output: str, expected: Any):
    assert shell(context, """printf '[1,\\n "ä"]\\n'""", output=output) == expected


def test_output_which_is_not_the_json_asked_for_is_shown(context: StepContext):
    with pytest.raises(StepFailed, match=r"not JSON: .* It begins 'hello"):
        shell(context, "echo hello", output="json")


def test_an_exit_status_fails_the_step_with_its_last_words(context: StepContext):
    with pytest.raises(StepFailed) as caught:
        shell(context, "seq 100000 >&2; echo no disk >&2; exit 4")
    assert caught.value.type == "ExitStatus"
    assert caught.value.message.startswith("'sh' ended with exit status 4.")
    assert caught.value.message.endswith("\nno disk")
    assert len(caught.value.message) < 2_200


def test_an_exit_status_may_be_the_output(context: StepContext):
    assert shell(context, "exit 4", check=False)["exit_code"] == 4
    assert shell(context, "kill -9 $$", check=False)["exit_code"] == -9


def test_the_environment_is_the_runs_and_the_declared_one(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FROM_RUN", "run")
    monkeypatch.setenv("CHANGED", "run")
    env = {"CHANGED": "step", "NUMBER": 1, "FLAG": True}
    command = "echo $FROM_RUN $CHANGED $NUMBER $FLAG"
    assert shell(context, command, env=env, output="text") == "run step 1 true"
    assert os.environ["CHANGED"] == "run"


def test_the_working_directory_is_the_documents(context: StepContext, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    assert shell(context, "pwd -P", output="text") == str(tmp_path.resolve())
    assert shell(context, "pwd -P", cwd="sub", output="text") == str((tmp_path / "sub").resolve())
    with pytest.raises(StepFailed, match=r"cannot be started in '.*nowhere': No such file"):
        shell(context, "pwd", cwd="nowhere")


def test_standard_input_is_given_or_empty(context: StepContext):
    text = "ä" * 300_000
    assert shell(context, ["cat"], stdin=text, output="text") == text
    assert shell(context, ["cat"], output="text") == ""


def test_a_command_which_does_not_exist_is_named(context: StepContext):
    with pytest.raises(StepFailed, match="'no-such-command' cannot be started: No such file"):
        shell(context, ["no-such-command"])
    with pytest.raises(StepFailed, match="empty list"):
        shell(context, [])


def test_the_middle_of_much_output_is_left_out(
    context: StepContext, capsys: pytest.CaptureFixture[str]
):
    code = "import sys; sys.stdout.write('begin' + 'x' * 5_000_000 + 'end')"
    text = shell(context, python(code))["stdout"]
    assert text.startswith("beginxxx")
    assert text.endswith("xxxend")
    assert len(text) < 1_048_576 + 100
    kept = text.count("x") - "bytes left out".count("x")
    assert f"[{5_000_000 - kept} bytes left out]" in text
    assert len(capsys.readouterr().out) == 5_000_008


@pytest.mark.parametrize("letters", [499, 500, 501, 507])
def test_half_of_a_secret_is_not_left_where_output_is_cut(context: StepContext, letters: int):
    known = Redaction()
    known.learn(["correct-horse-battery"])
    masked = replace(context, masked=known.stream)
    # The head ends, and what an error shows begins, somewhere inside a secret.
    said = f"('x' * {letters} + 'correct-horse-battery') * 4000"
    kept = shell(masked, python(f"import sys; sys.stdout.write({said})"))["stdout"]
    assert "bytes left out" in kept
    assert not re.search(r"correct|horse|batter", kept)
    wrong = f"import sys; sys.stderr.write('correct-horse-battery' + 'x' * {1490 + letters})"
    with pytest.raises(StepFailed) as caught:
        shell(masked, python(f"{wrong}; sys.exit(3)"))
    assert not re.search(r"correct|horse|batter", str(caught.value))
    begun = "print('x' * 70 + 'correct-horse-battery')"
    with pytest.raises(StepFailed, match="is not JSON") as caught:
        shell(masked, python(begun), output="json")
    assert not re.search(r"correct|horse|batter", str(caught.value))


def test_memory_stays_bounded_however_much_is_written(context: StepContext):
    before = psutil.Process().memory_info().rss
    shell(context, "head -c 60000000 /dev/zero >&2", check=True)
    assert psutil.Process().memory_info().rss - before < 20_000_000


def test_bytes_which_are_no_text_are_replaced(context: StepContext):
    assert shell(context, r"printf 'a\377b'", output="text") == "a\ufffdb"


@pytest.mark.parametrize("command", ["sleep 600", "yes & yes & yes & yes >&2"])
def test_a_command_ends_at_its_timeout(
    started: Started, context: StepContext, command: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdout", None)
    start = time.monotonic()
    with pytest.raises(StepTimeout, match=r"timeout of 0\.3 s"):
        run_step("shell/run", {"command": command}, context, timeout=0.3)
    assert time.monotonic() - start < 6
    assert started() == []


def test_what_a_command_leaves_running_is_ended_with_it(context: StepContext, marked: Find):
    mark = f"600.{os.getpid()}"
    start = time.monotonic()
    assert shell(context, f"setsid sleep {mark} & (sleep {mark} &) ; echo ok")["stdout"] == "ok\n"
    assert marked(mark) == []
    assert time.monotonic() - start < 6


def test_a_command_which_signals_its_whole_group_does_not_get_away(
    context: StepContext, marked: Find
):
    mark = f"601.{os.getpid()}"
    with pytest.raises(StepFailed, match="ended with signal 15"):
        shell(context, f"setsid sleep {mark} & trap - TERM; kill 0; sleep 600")
    assert marked(mark) == []


def test_a_command_does_not_inherit_ignored_signals(context: StepContext):
    code = (
        "import signal\nfor s in (signal.SIGTERM, signal.SIGHUP): print(signal.getsignal(s).name)\n"
    )
    assert shell(context, python(code), output="lines") == ["SIG_DFL", "SIG_DFL"]


def script(context: StepContext, **args: Any) -> Any:
    return run_step("python/script", args, context)


def test_a_script_is_run_with_its_arguments(context: StepContext, tmp_path: Path):
    (tmp_path / "beside.py").write_text("VALUE = 7")
    (tmp_path / "report.py").write_text(
        "import beside, json, sys\n"
        "if __name__ == '__main__':\n"
        "    print(json.dumps([beside.VALUE, *sys.argv[1:]]))\n"
    )
    assert script(context, path="report.py", args=["a b", 2], output="json") == [7, "a b", "2"]


def test_code_is_run_in_an_interpreter_of_its_own(context: StepContext):
    code = "import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:]]))"
    pid, argv = json.loads(script(context, code=code, args=["x"])["stdout"])
    assert pid != os.getpid()
    assert argv == ["x"]


def test_a_scripts_own_traceback_is_in_its_failure(context: StepContext, tmp_path: Path):
    (tmp_path / "broken.py").write_text("raise LookupError('no rows')")
    with pytest.raises(StepFailed) as caught:
        script(context, path="broken.py")
    assert "LookupError: no rows" in caught.value.message


def test_a_missing_script_is_named(context: StepContext):
    with pytest.raises(StepFailed, match=r"no script '.*/nothing\.py'"):
        script(context, path="nothing.py")


def test_a_script_ends_at_its_timeout(started: Started, context: StepContext):
    with pytest.raises(StepTimeout):
        run_step("python/script", {"code": "while True: pass"}, context, timeout=0.3)
    assert started() == []
