from pathlib import Path
from runpy import run_path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "write_commands.py"


@pytest.fixture
def written(monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    return run_path(str(SCRIPT))["page"]()


def test_every_command_has_its_help(written):
    from msam_nn.cli.main import COMMANDS

    assert all(f"## msam {command}\n\n```text\nusage: msam {command} " in written for command in COMMANDS)


def test_the_page_names_the_options_of_today(written):
    """Python versions wrap and title help differently, so words are compared, not lines."""
    page = SCRIPT.with_name("commands.md").read_text(encoding="utf-8")
    missing = {word for word in written.split() if word.strip("[],").startswith("-")} - set(page.split())
    assert not {word for word in missing if word.strip("[],.") not in page}
