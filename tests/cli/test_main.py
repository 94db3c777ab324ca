"""The ``msam`` command around its sub-commands."""

import io
import sys

import pytest

from msam_nn import __version__
from msam_nn.cli import doctor, main
from msam_nn.errors import UserError


def test_user_error_is_one_sentence_and_status_2(monkeypatch, capsys):
    def fail(args):
        raise UserError("There is no such file.")

    monkeypatch.setattr(doctor, "run", fail)
    assert main.main(["doctor"]) == 2
    assert capsys.readouterr().err == "msam doctor: There is no such file.\n"


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"msam_nn {__version__}\n"


def test_character_that_the_terminal_lacks_is_a_question_mark(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(doctor, "run", lambda args: print("4 × 4") or 0)
    assert main.main(["doctor"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue() == b"4 ? 4\n"
