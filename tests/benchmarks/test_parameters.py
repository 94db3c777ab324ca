"""The generated table of parameters is that of today's networks."""

from pathlib import Path
from runpy import run_path

import pytest

pytest.importorskip("monai", reason='needs MONAI: pip install "msam_nn[baselines]"')
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    return run_path(str(ROOT / "benchmarks" / "parameters.py"))


def test_the_page_holds_the_table(script):
    assert script["table"]() in (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
