"""``msam compare`` from the command line to its files."""

import json

import numpy as np
import pandas as pd
import pytest

from msam_nn.cli.main import main
from msam_nn.evaluation.comparison.report import tests_table as table_of_tests
from msam_nn.evaluation.scoring import ELLIPSOID

from ..results_phantom import FIRST, SECOND, make_results


@pytest.fixture
def root(tmp_path, monkeypatch):
    return make_results(tmp_path, monkeypatch)


def test_command_writes_the_report(root, capsys):
    output = root / "report"
    assert main(["compare", "-d", "700", "-o", str(output), "--tolerance", "2", "-f", "0", "1", FIRST, SECOND]) == 0
    assert {f.name for f in output.iterdir()} == {f"comparison.{kind}" for kind in ("csv", "json", "md", "html")}
    content = json.loads((output / "comparison.json").read_text(encoding="utf-8"))
    assert content["tolerance_mm"] == 2 and content["folds"] == {"0": ["a", "b"], "1": ["c", "d"]}
    assert len(pd.read_csv(output / "comparison.csv")) == len(content["scores"]) == 3 * 4 * 2
    assert {row["method"] for row in content["counts"]} == {FIRST, SECOND, ELLIPSOID}
    missed = [row["missed"] for row in content["counts"] if row["method"] == SECOND and row["label"] == "whole"]
    assert missed == [1]
    page, text = (
        (output / "comparison.html").read_text(encoding="utf-8"),
        (output / "comparison.md").read_text(encoding="utf-8"),
    )
    assert page.count("data:image/png") == 2 and 'src="http' not in page
    for report in (page, text):
        assert ELLIPSOID in report and "NSD at 2 mm" in report and "Rightly empty" in report
    assert ELLIPSOID in capsys.readouterr().out


def test_a_class_without_pairs_has_dashes():
    row = {"metric": "dice", "label": "core", "first": "A", "second": "B", "cases": 0}
    tests = pd.DataFrame([row | dict.fromkeys(["difference", "low", "high", "p", "p_holm"], np.nan)])
    assert table_of_tests(tests)[["difference", "p", "p (Holm)"]].to_numpy().tolist() == [["–", "–", "–"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "0"], "Name folds and results"),
        (["-f", FIRST], "Name folds and results"),
        (["-f", "7", FIRST], "has no fold 7"),
        (["-f", "0", FIRST, "--tolerance", "-1"], "--tolerance"),
        (["-f", "0", FIRST, "--lesion-iou", "0"], "--lesion-iou"),
        (["-f", "0", FIRST, "-np", "0"], "-np is at least 1"),
    ],
)
def test_wrong_input_gets_one_sentence_and_leaves_nothing(root, capsys, arguments, message):
    assert main(["compare", "-d", "700", "-o", str(root / "report"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (root / "report").exists()


def test_an_existing_report_is_kept(root, capsys):
    (root / "report").mkdir()
    assert main(["compare", "-d", "700", "-f", "0", FIRST, "-o", str(root / "report")]) == 2
    assert "exists already" in capsys.readouterr().err
