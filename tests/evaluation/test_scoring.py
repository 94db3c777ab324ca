import os
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from msam_nn.errors import UserError
from msam_nn.evaluation import scoring
from msam_nn.evaluation.comparison.contest import open_contest
from msam_nn.evaluation.results_folder import open_ground_truth
from msam_nn.evaluation.scoring import ELLIPSOID, ScoringOptions, ScoringTask, fit_fold_ellipsoids, score_cases
from msam_nn.metrics.ellipsoid import fit_ellipsoid

from .results_phantom import DATASET, FIRST, SECOND, make_results, write

OPTIONS = ScoringOptions(1.0, 0.1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    return make_results(tmp_path, monkeypatch)


def tasks_of(contest, ellipsoids=None):
    return [
        ScoringTask(case, fold, contest.predictions(case), ellipsoids and ellipsoids[fold])
        for case, fold in contest.fold_of.items()
    ]


def test_every_method_case_and_class_has_a_row(root):
    contest = open_contest(DATASET, [0, 1], [FIRST, SECOND])
    ellipsoids = fit_fold_ellipsoids(contest.truth, [0, 1], progress=False)
    scores = score_cases(contest.truth, tasks_of(contest, ellipsoids), OPTIONS, progress=False)
    keys = scores[["method", "case", "label"]].itertuples(index=False, name=None)
    assert set(keys) == {(m, c, k) for m in (FIRST, SECOND, ELLIPSOID) for c in "abcd" for k in ("whole", "core")}
    assert dict(zip(scores["case"], scores["fold"], strict=True)) == {"a": 0, "b": 0, "c": 1, "d": 1}


def test_processes_change_nothing(root):
    contest = open_contest(DATASET, [0], [FIRST])
    alone = score_cases(contest.truth, tasks_of(contest), OPTIONS, progress=False)
    pd.testing.assert_frame_equal(alone, score_cases(contest.truth, tasks_of(contest), OPTIONS, 2, progress=False))


def test_a_process_that_dies_is_one_sentence(root):
    contest = open_contest(DATASET, [0], [FIRST])
    truth = replace(contest.truth, reader=partial(os._exit, 1))
    with pytest.raises(UserError, match="use fewer with -np"):
        score_cases(truth, tasks_of(contest), OPTIONS, 2, progress=False)


def test_a_prediction_of_another_shape_is_refused(root):
    contest = open_contest(DATASET, [0], [FIRST])
    write(contest.predictions("a")[FIRST], np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(UserError, match=r"a.nii.gz has the shape \(3, 4, 5\), its truth \(8, 12, 10\)"):
        score_cases(contest.truth, tasks_of(contest), OPTIONS, progress=False)


def test_ellipsoids_know_training_cases_only(root):
    truth = open_ground_truth(DATASET, ["a"])
    found = fit_fold_ellipsoids(truth, [0], progress=False)[0]["core"]
    masks = [truth.read(truth.file(case))[0] == 2 for case in "cdef"]
    expected = fit_ellipsoid(masks)
    assert (found.centre, found.slope, found.offset) == (
        pytest.approx(expected.centre),
        pytest.approx(expected.slope),
        pytest.approx(expected.offset),
    )


def test_a_class_without_training_masks_is_guessed_empty(root):
    for case in "cdef":
        truth = open_ground_truth(DATASET, ["a"])
        labels = truth.read(truth.file(case))[0]
        write(truth.file(case), np.where(labels == 2, 1, labels).astype(np.uint8))
    contest = open_contest(DATASET, [0], [FIRST])
    ellipsoids = fit_fold_ellipsoids(contest.truth, [0], progress=False)
    assert set(ellipsoids[0]) == {"whole"}
    scores = score_cases(contest.truth, tasks_of(contest, ellipsoids), OPTIONS, progress=False)
    guessed = scores.query("method == @ELLIPSOID and label == 'core' and case == 'a'").iloc[0]
    assert guessed["predicted_ml"] == guessed["dice"] == 0


def test_large_masks_are_thinned_out_alike(root, monkeypatch):
    """Fitted to every other voxel, the ellipsoid still speaks of voxels of the whole array."""
    truth = open_ground_truth(DATASET, ["a"])
    fine = fit_fold_ellipsoids(truth, [0], progress=False)[0]["whole"]
    monkeypatch.setattr(scoring, "COARSE_EDGE", 6)
    coarse = fit_fold_ellipsoids(truth, [0], progress=False)[0]["whole"]
    shape = (16, 24, 20)
    volumes = [ellipsoid.predict(shape).sum() for ellipsoid in (fine, coarse)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.4)
