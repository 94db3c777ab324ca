"""Logged commands: output in the log, the exit code obeyed, commands found beside the running Python."""

import os
import subprocess
import sys

import pytest

from msam_nn.demo.logged_command import CommandFailed, _news_in, _show_progress, find_command, run_logged
from msam_nn.errors import UserError


def run_python(code, log_file):
    run_logged(
        [sys.executable, "-c", code], environment=os.environ, log_file=log_file, title="test", expected_seconds=1
    )


def test_output_of_successive_commands_goes_to_one_log(tmp_path):
    log = tmp_path / "log"
    run_python("import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr)", log)
    run_python("print('second')", log)
    assert log.read_text(encoding="utf-8").split() == ["out", "err", "second"]


def test_failure_quotes_the_end_and_names_the_log(tmp_path):
    with pytest.raises(CommandFailed) as failure:
        run_python("for i in range(100): print(f'line {i}.')\nraise SystemExit(3)", tmp_path / "log")
    message = str(failure.value)
    assert "line 99." in message and "line 10." not in message
    assert "exit code 3" in message and str(tmp_path / "log") in message


def test_news_is_quoted_without_the_time_stamp():
    assert _news_in("2024-05-01 10:00:00.123456: Epoch 3 ") == "Epoch 3"
    assert _news_in("2024-05-01 10:00:00.123456: train_loss -0.4321 ") == "train_loss -0.4321"
    assert _news_in("Epoch time: 3.2 s") == ""


@pytest.mark.parametrize(("expected_seconds", "late"), [(1e-9, True), (1e9, False)])
def test_a_command_that_takes_longer_than_expected(expected_seconds, late, capsys):
    class Process:
        returncode, waits = 0, iter([False, True])

        def wait(self, timeout):
            if not next(self.waits):
                raise subprocess.TimeoutExpired("command", timeout)

    _show_progress(Process(), ["Epoch 3"], "train", expected_seconds)
    shown = capsys.readouterr().err
    assert ("longer than expected, Epoch 3" in shown) == late and "Epoch 3" in shown


def test_commands_are_found_without_an_activated_environment(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert find_command("nnUNetv2_train").endswith("nnUNetv2_train")
    with pytest.raises(UserError, match="pip install nnunetv2"):
        find_command("nnUNetv2_no_such_command")
