"""The demo's table of scores, from hand-made ones."""

import json

import pandas as pd

from msam_nn.demo.layout import MODELS, Layout
from msam_nn.demo.results import automatic_scores, format_results

AUTOMATIC = pd.DataFrame(
    [("a", "tumour", 0.5, 10, 8), ("b", "tumour", 1.0, 10, 10), ("c", "tumour", 0.0, 0, 3)],
    columns=["case", "label", "dice", "true_voxels", "predicted_voxels"],
)


def test_cases_without_tumour_are_told_and_not_averaged():
    rows = [(case, "tumour", n, n / 10) for case in "abc" for n in (0, 1, 3, 5)]
    rows[-1] = ("c", "tumour", 5, 99.0)
    clicked = pd.DataFrame(rows, columns=["case", "label", "clicks", "dice"])
    lines = format_results(AUTOMATIC, clicked).splitlines()
    assert lines[0] == "held-out cases: 3"
    assert lines[3:7] == ["automatic   0.750", "1 click     0.100", "3 clicks    0.300", "5 clicks    0.500"]
    assert lines[-1] == "not in the mean: 1 without tumour, 1 of them with a false finding"


def test_without_clicks_and_with_a_tumour_everywhere():
    lines = format_results(AUTOMATIC[:2], None).splitlines()
    assert lines == ["held-out cases: 2", "", "prompts     mean Dice", "automatic   0.750"]


def test_scores_are_read_under_the_classes_names(tmp_path):
    layout = Layout(tmp_path, MODELS["msam"])
    layout.dataset.mkdir(parents=True)
    layout.predictions.mkdir()
    (layout.dataset / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "whole": [1, 2], "core": 2}}))
    metrics = {"(1, 2)": {"Dice": 0.5, "n_ref": 4, "n_pred": 2}, "2": {"Dice": 0.25, "n_ref": 1, "n_pred": 7}}
    summary = {"mean": {}, "foreground_mean": {}}
    summary["metric_per_case"] = [{"reference_file": "/x/case_1.nii.gz", "metrics": metrics}]
    (layout.predictions / "summary.json").write_text(json.dumps(summary))
    assert automatic_scores(layout).values.tolist() == [
        ["case_1", "whole", 0.5, 4, 2],
        ["case_1", "core", 0.25, 1, 7],
    ]
