import json
import shutil

import pytest

from msam_nn.errors import UserError
from msam_nn.evaluation.results_folder import class_values, open_ground_truth, open_results, validation_splits

from .results_phantom import DATASET, FIRST, SECOND, SHAPE, SPACING, make_results


@pytest.fixture
def root(tmp_path, monkeypatch):
    return make_results(tmp_path, monkeypatch)


def open_first(identifier=FIRST):
    return open_results(open_ground_truth(DATASET, ["a"]), identifier, validation_splits(DATASET, [0, 1]))


def test_regions_without_background_and_ignore_label(root):
    truth = open_ground_truth(DATASET, ["a"])
    assert truth.classes == {"whole": (1, 2), "core": (2,)} and truth.ignore_label == 3
    labels, spacing = truth.read(truth.file("a"))
    assert labels.shape == SHAPE and spacing == SPACING


def test_labels_may_be_written_as_lists():
    assert class_values({"labels": {"background": 0, "b": 2, "a": [1]}}) == {"b": (2,), "a": (1,)}


def test_results_by_name_and_by_path(root):
    by_name, by_path = open_first(), open_first(str(root / "results" / DATASET / FIRST))
    assert by_name == by_path and by_name.name == FIRST
    assert by_name.prediction(1, "c", ".nii.gz").is_file()


@pytest.mark.parametrize(
    ("identifier", "message"),
    [("nnUNetTrainer", "write TRAINER__PLANS__CONFIGURATION"), ("A__B__C", "There are no results")],
)
def test_no_results(root, identifier, message):
    with pytest.raises(UserError, match=message):
        open_first(identifier)


def test_a_fold_that_was_not_validated(root):
    shutil.rmtree(root / "results" / DATASET / FIRST / "fold_1" / "validation")
    with pytest.raises(UserError, match="no validated fold 1"):
        open_first()


def test_incomplete_results(root):
    (root / "results" / DATASET / FIRST / "fold_1" / "validation" / "d.nii.gz").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of 2 cases \(d\)"):
        open_first()


def test_a_prediction_that_ends_early(root):
    truth = open_ground_truth(DATASET, ["a"])
    file = open_first().prediction(0, "a", truth.file_ending)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="copy or export it again"):
        truth.read(file)


def test_results_of_other_splits(root):
    validation = root / "results" / DATASET / FIRST / "fold_0" / "validation"
    shutil.copy(validation / "a.nii.gz", validation / "e.nii.gz")
    with pytest.raises(UserError, match="its splits differ: e"):
        open_first()


def test_results_of_another_data_set(root):
    (root / "results" / DATASET / SECOND / "plans.json").write_text(json.dumps({"dataset_name": "Dataset001_Other"}))
    with pytest.raises(UserError, match="results of Dataset001_Other, not of"):
        open_first(SECOND)


def test_results_with_other_classes(root):
    file = root / "results" / DATASET / FIRST / "dataset.json"
    file.write_text(file.read_text(encoding="utf-8").replace("core", "rim"))
    with pytest.raises(UserError, match="other classes"):
        open_first()


def test_missing_truth_and_missing_preprocessing(root):
    with pytest.raises(UserError, match="lacks x, y"):
        open_ground_truth(DATASET, ["y", "a", "x"])
    (root / "preprocessed" / DATASET / "dataset.json").unlink()
    with pytest.raises(UserError, match="nnUNetv2_plan_and_preprocess"):
        open_ground_truth(DATASET, ["a"])


def test_folds(root):
    assert validation_splits(DATASET, [1]) == {1: ["c", "d"]}
    with pytest.raises(UserError, match="a fold twice"):
        validation_splits(DATASET, [0, 0])
