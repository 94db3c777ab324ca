"""MaskSAM from plans to predictions with nnU-Net's own commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

DATASET = "Dataset900_TumourPhantom"
NAMES = ("-tr", "MaskSAMTrainer_1minute", "-p", "MaskSAMPlans")

pytestmark = pytest.mark.slow


def _shrink(plans_file: Path) -> None:
    """Make the planned network small enough for a minute of training, on the phantom's preprocessed data."""
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(batch_size=2, patch_size=[4, 32, 32], data_identifier="MSAMPlans_3d_fullres")
    configuration["architecture"]["arch_kwargs"].update(
        token_size=8, embed_dim=24, num_heads=2, decoder_dim=16, decoder_heads=2, decoder_mlp_dim=32,
        generator_widths=[16, 8, 8, 8, 8], checkpoint_blocks=False,
    )  # fmt: skip
    plans_file.write_text(json.dumps(plans))


@pytest.fixture(scope="module")
def model(run, nnunet_folders) -> Path:
    """The model folder of a MaskSAM trained for a minute on fold 0, with validation probabilities."""
    run("nnUNetv2_plan_experiment", "-d", 900, "-pl", "MaskSAMPlanner", "-gpu_memory_target", 0.5)
    _shrink(nnunet_folders["nnUNet_preprocessed"] / DATASET / "MaskSAMPlans.json")
    run("nnUNetv2_train", 900, "3d_fullres", 0, *NAMES, "-device", "cpu", "--npz")
    return nnunet_folders["nnUNet_results"] / DATASET / "MaskSAMTrainer_1minute__MaskSAMPlans__3d_fullres"


def test_plans_hold_a_tiny_trunk_and_a_2d_configuration(model, nnunet_folders):
    file = nnunet_folders["nnUNet_preprocessed"] / DATASET / "MaskSAMPlans.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    assert plans["experiment_planner_used"] == "MaskSAMPlanner"
    assert set(plans["configurations"]) == {"2d", "3d_fullres"}
    notes = plans["configurations"]["3d_fullres"]["planning_notes"]
    assert notes[0].startswith("trunk tiny, trains from scratch: SAM's encoders need 6 GB")
    assert plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["patch_size"][0] == 1


def test_training_validates_with_probabilities(model):
    """What it learns is tested on the trainer: a minute of a network this small is not enough."""
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["mean"]) == {"1", "2"}
    for file in (model / "fold_0" / "validation").glob("*.npz"):
        probabilities = np.load(file)["probabilities"]
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-2)


def test_validation_can_be_repeated_and_a_training_continued(run, model):
    run("nnUNetv2_train", 900, "3d_fullres", 0, *NAMES, "-device", "cpu", "--val")
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    checkpoint.rename(checkpoint.with_name("checkpoint_latest.pth"))
    run("nnUNetv2_train", 900, "3d_fullres", 0, *NAMES, "-device", "cpu", "--c")
    assert checkpoint.is_file()


def test_stock_prediction_and_a_zip(run, model, nnunet_folders, tmp_path):
    images = nnunet_folders["nnUNet_raw"] / DATASET / "imagesTs"
    predict = ("-d", 900, "-i", images, "-c", "3d_fullres", *NAMES, "-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1)
    run("nnUNetv2_predict", *predict, "-o", tmp_path / "first", "--save_probabilities")
    run("nnUNetv2_export_model_to_zip", "-d", 900, "-c", "3d_fullres", *NAMES, "-f", 0, "-o", tmp_path / "model.zip")
    elsewhere = {"nnUNet_results": str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    run("nnUNetv2_install_pretrained_model_from_zip", tmp_path / "model.zip", **elsewhere)
    run("nnUNetv2_predict", *predict, "-o", tmp_path / "second", "--disable_tta", **elsewhere)
    run("nnUNetv2_ensemble", "-i", tmp_path / "first", tmp_path / "first", "-o", tmp_path / "ensemble", "-np", 1)
    (first,) = (tmp_path / "first").glob("*.nii.gz")
    image = sitk.ReadImage(str(next(images.iterdir())))
    voxels = {}
    for folder in ("first", "second", "ensemble"):
        prediction = sitk.ReadImage(str(tmp_path / folder / first.name))
        assert prediction.GetSize() == image.GetSize()
        voxels[folder] = sitk.GetArrayFromImage(prediction)
    assert (voxels["first"] == voxels["second"]).mean() > 0.9
    assert (voxels["first"] == voxels["ensemble"]).all()
