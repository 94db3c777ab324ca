"""From raw data to predictions with nnU-Net's own commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

DATASET = "Dataset900_TumourPhantom"
MODEL = ("-d", "900", "-c", "3d_fullres", "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-f", "0", "-device", "cpu")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raw(nnunet_folders) -> Path:
    return nnunet_folders["nnUNet_raw"] / DATASET


@pytest.fixture(scope="module")
def predictions(run, trained, raw, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    run("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", folder, *MODEL, "-npp", 1, "-nps", 1, "--save_probabilities")
    return folder


def test_plan_and_preprocess(run, nnunet_folders):
    run(
        "nnUNetv2_plan_and_preprocess", "-d", 900, "-pl", "MSAMPlanner", "-c", "3d_fullres", "-np", 1, "-npfp", 1,
        "-overwrite_plans_name", "FromTheCommandLine", "--verify_dataset_integrity",
    )  # fmt: skip
    folder = nnunet_folders["nnUNet_preprocessed"] / DATASET
    plans = json.loads((folder / "FromTheCommandLine.json").read_text(encoding="utf-8"))
    assert plans["experiment_planner_used"] == "MSAMPlanner"
    assert list(plans["configurations"]) == ["3d_fullres"]
    assert len(list((folder / "FromTheCommandLine_3d_fullres").glob("*.b2nd"))) == 12


def test_training_validates_and_leaves_what_nnunet_leaves(trained):
    fold = trained / "fold_0"
    assert {"checkpoint_final.pth", "checkpoint_best.pth", "progress.png", "validation"} <= {
        p.name for p in fold.iterdir()
    }
    assert not list(fold.glob("*.partial"))
    summary = json.loads((fold / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["mean"]) == {"1", "2"}
    assert len(list((fold / "validation").glob("*.npz"))) == len(summary["metric_per_case"])
    log = next(fold.glob("training_log*.txt")).read_text(encoding="utf-8")
    assert "parameters train" in log


def test_training_learns_the_organ(trained):
    summary = json.loads((trained / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["mean"]["2"]["Dice"] > 0.5


def test_prediction_lies_on_the_grid_of_its_image(predictions, raw):
    image_file = next((raw / "imagesTs").iterdir())
    prediction = sitk.ReadImage(str(next(predictions.glob("*.nii.gz"))))
    image = sitk.ReadImage(str(image_file))
    assert prediction.GetSize() == image.GetSize()
    assert prediction.GetSpacing() == pytest.approx(image.GetSpacing())
    assert prediction.GetOrigin() == pytest.approx(image.GetOrigin())
    assert set(np.unique(sitk.GetArrayFromImage(prediction))) <= {0, 1, 2}
    probabilities = np.load(next(predictions.glob("*.npz")))["probabilities"]
    assert probabilities.shape == (3, *sitk.GetArrayFromImage(image).shape)
    assert np.allclose(probabilities.sum(0), 1, atol=1e-2)


def test_evaluate_and_ensemble(run, predictions, raw, nnunet_folders, tmp_path):
    run(
        "nnUNetv2_evaluate_folder", raw / "labelsTs", predictions, "-np", 1,
        "-djfile", predictions / "dataset.json", "-pfile", predictions / "plans.json",
    )  # fmt: skip
    summary = json.loads((predictions / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["metric_per_case"]) == 1
    run("nnUNetv2_ensemble", "-i", predictions, predictions, "-o", tmp_path / "ensemble", "-np", 1)
    case = next(predictions.glob("*.nii.gz")).name
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(f / case))) for f in (predictions, tmp_path / "ensemble")]
    assert np.array_equal(*arrays)


def test_find_best_configuration(run, trained, nnunet_folders):
    run(
        "nnUNetv2_find_best_configuration", 900, "-c", "3d_fullres", "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans",
        "-f", 0, "--disable_ensembling", "-np", 1,
    )  # fmt: skip
    results = nnunet_folders["nnUNet_results"] / DATASET
    assert "MSAMTrainer_1epoch__MSAMPlans__3d_fullres" in (results / "inference_information.json").read_text(
        encoding="utf-8"
    )


def test_exported_model_predicts_the_same_elsewhere(run, predictions, raw, tmp_path):
    archive = tmp_path / "model.zip"
    run(
        "nnUNetv2_export_model_to_zip", "-d", 900, "-o", archive, "-c", "3d_fullres", "-tr", "MSAMTrainer_1epoch",
        "-p", "MSAMPlans", "-f", 0,
    )  # fmt: skip
    elsewhere = {"nnUNet_results": str(tmp_path / "results")}
    (tmp_path / "results").mkdir()
    run("nnUNetv2_install_pretrained_model_from_zip", archive, **elsewhere)
    run("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", tmp_path / "out", *MODEL, "-npp", 1, "-nps", 1, **elsewhere)
    case = next(predictions.glob("*.nii.gz")).name
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(f / case))) for f in (predictions, tmp_path / "out")]
    assert np.array_equal(*arrays)


def test_continue_and_validate_again(run, trained):
    summary = trained / "fold_0" / "validation" / "summary.json"
    before = json.loads(summary.read_text(encoding="utf-8"))["foreground_mean"]
    shutil.rmtree(summary.parent)
    arguments = (900, "3d_fullres", 0, "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-device", "cpu")
    run("nnUNetv2_train", *arguments, "--val", "--npz")
    assert json.loads(summary.read_text(encoding="utf-8"))["foreground_mean"] == before
    assert "Epoch 1" not in run("nnUNetv2_train", *arguments, "--c").stdout
    assert json.loads(summary.read_text(encoding="utf-8"))["foreground_mean"] == before
