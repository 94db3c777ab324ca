"""``msam clicks`` on a trained model."""

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
MODEL = ("-d", 900, "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-f", 0, "-device", "cpu")


def test_every_case_class_strategy_and_click_is_listed(run, trained, tmp_path):
    output = tmp_path / "clicks"
    process = run("msam", "clicks", *MODEL, "-n", 5, "--strategy", "centre", "uniform", "-o", output)
    scores, curves = (pd.read_csv(output / f"{name}.csv") for name in ("clicks", "curves"))
    assert set(scores["label"]) == {"tumour", "organ"} and set(scores["strategy"]) == {"centre", "uniform"}
    assert len(scores) == scores["case"].nunique() * 2 * 2 * 6
    dice = scores.pivot(index=["case", "label"], columns=["clicks", "strategy"], values="dice")
    assert dice[0, "centre"].equals(dice[0, "uniform"])
    assert not dice[5, "centre"].equals(dice[0, "centre"]) and not dice[5, "centre"].equals(dice[5, "uniform"])
    assert len(curves) == (scores.query("clicks == 0")["true_voxels"] > 0).sum()
    summary = (output / "summary.md").read_text(encoding="utf-8")
    assert "Protocol: whole volume." in summary and "Area under the curve" in summary and summary in process.stdout


def test_the_papers_protocol_is_marked(run, trained, tmp_path):
    output = tmp_path / "paper"
    run("msam", "clicks", *MODEL, "--protocol", "paper", "-n", 2, "-o", output)
    scores = pd.read_csv(output / "clicks.csv")
    assert set(scores["clicks"]) == {1, 2} and set(scores["strategy"]) == {"uniform"}
    assert "not comparable with whole-volume figures" in (output / "summary.md").read_text(encoding="utf-8")
    assert scores["protocol"].str.contains("not comparable").all()


def test_a_fold_that_is_not_trained_gets_one_sentence(run, trained):
    arguments = list(MODEL)
    arguments[arguments.index("-f") + 1] = 3
    process = run("msam", "clicks", *arguments, check=False)
    assert process.returncode == 2
    assert "no finished fold 3" in process.stderr and "Traceback" not in process.stderr
