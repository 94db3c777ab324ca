"""The same numbers as nnU-Net where both measure the same."""

import shutil
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from msam_nn.errors import UserError
from msam_nn.evaluation.comparison import contest as module
from msam_nn.evaluation.comparison.contest import compare, open_contest, overlay_case, worst_cases
from msam_nn.evaluation.scoring import ELLIPSOID, ScoringOptions

from ..results_phantom import DATASET, FIRST, SECOND, make_results


@pytest.fixture
def root(tmp_path, monkeypatch):
    return make_results(tmp_path, monkeypatch)


def test_agrees_with_nnunets_summary(root):
    """Regions, ignore label, a case without any region, one without the core, one where nothing is predicted."""
    contest = open_contest(DATASET, [0, 1], [SECOND])
    gathered = root / "gathered"
    gathered.mkdir()
    for case in contest.fold_of:
        file = contest.predictions(case)[SECOND]
        (gathered / file.name).write_bytes(file.read_bytes())
    regions = {"whole": (1, 2), "core": 2}
    theirs = compute_metrics_on_folder(
        str(root / "preprocessed" / DATASET / "gt_segmentations"), str(gathered), None, SimpleITKIO(), ".nii.gz",
        list(regions.values()), ignore_label=3, num_processes=1,
    )  # fmt: skip

    comparison = compare(contest, ScoringOptions(1.0, 0.1))
    ours = comparison.summary.query("method == @SECOND").set_index(["label", "metric"])["mean"]
    cases = comparison.scores.query("method == @SECOND").set_index(["case", "label"])
    for name, region in regions.items():
        for our_name, their_name in (("dice", "Dice"), ("iou", "IoU")):
            assert ours[name, our_name] == pytest.approx(theirs["mean"][region][their_name], abs=1e-12)
            of_cases = {c["prediction_file"][-8]: c["metrics"][region][their_name] for c in theirs["metric_per_case"]}
            for case, expected in of_cases.items():
                assert cases.loc[(case, name), our_name] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert ours["mean of classes", "dice"] == pytest.approx(theirs["foreground_mean"]["Dice"], abs=1e-12)
    assert np.isnan(cases.loc[("d", "core"), "dice"]) and cases.loc[("a", "whole"), "dice"] == 0


def test_worst_cases_are_those_of_models():
    scores = pd.DataFrame(
        [("A", "p", 0.5), ("B", "p", 0.9), ("A", "q", 0.8), ("B", "q", 0.1), ("A", "r", np.nan), (ELLIPSOID, "q", 0.0)],
        columns=["method", "case", "dice"],
    )
    assert worst_cases(scores, 5).values.tolist() == [["q", "B", 0.1], ["p", "A", 0.5]]


def test_no_picture_without_raw_images(root):
    assert overlay_case(open_contest(DATASET, [0], [FIRST]), "a") is None


def test_results_named_twice(root):
    with pytest.raises(UserError, match="named twice"):
        open_contest(DATASET, [0], [FIRST, str(root / "results" / DATASET / FIRST)])


def test_seeds_of_one_method_are_told_apart_by_their_folders(root):
    folders = [root / "results" / place / DATASET / FIRST for place in ("", "seed_1", "seed_2/again")]
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder)
    contest = open_contest(DATASET, [0], [*map(str, folders), SECOND])
    assert [r.name for r in contest.results] == [FIRST, f"seed_1/{FIRST}", f"seed_2/again/{FIRST}", SECOND]
    assert list(contest.predictions("a")) == [r.name for r in contest.results]
    (root / "link").symlink_to(folders[1].parents[1])
    with pytest.raises(UserError, match=f"named twice: .*seed_1/{DATASET}/{FIRST}.$"):
        open_contest(DATASET, [0], [str(folders[1]), str(root / "link" / DATASET / FIRST)])


@pytest.mark.parametrize("error", [ImportError("Network class could not be found\nanywhere"), torch.OutOfMemoryError()])
@pytest.mark.parametrize("fails", ["load_predictor", "measure_prediction"])
def test_what_cannot_be_built_or_timed_costs_only_its_costs(root, monkeypatch, fails, error):
    def refuse(*arguments):
        raise error

    network = torch.nn.Linear(2, 3)
    predictor = SimpleNamespace(network=network, configuration_manager=SimpleNamespace(previous_stage_name=None))
    monkeypatch.setattr(module, "load_predictor", lambda *arguments: predictor)
    monkeypatch.setattr(module, "n_parameters", lambda predictor: 9)
    monkeypatch.setattr(module, "validation_cases", lambda *arguments: defaultdict(lambda: SimpleNamespace(images=[])))
    monkeypatch.setattr(module, fails, refuse)
    contest = open_contest(DATASET, [0], [FIRST])
    reason = str(error).splitlines()[0] if str(error) else "OutOfMemoryError"
    with pytest.warns(UserWarning, match=f"{FIRST}: no .*prediction times, {reason}"):
        row = module.costs_of(contest, contest.results[0], torch.device("cpu"))
    known = 9 if fails == "measure_prediction" else None
    assert row["method"] == FIRST and row[module.COST_COLUMNS[1]] == known
    assert all(row[column] is None for column in module.MEASURED_COLUMNS)
