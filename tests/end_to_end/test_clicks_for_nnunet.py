"""A U-Net that nnU-Net trained, frozen and clicked, with stock commands and ours."""

import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

DATASET, PLANS = "Dataset900_TumourPhantom", "TinyUNetPlans"
UNET, CLICKED = "nnUNetTrainer_1minute", "MSAMUNetTrainer_1minute"

pytestmark = pytest.mark.slow


def model(trainer: str) -> tuple:
    return "-d", 900, "-c", "3d_fullres", "-tr", trainer, "-p", PLANS, "-f", 0, "-device", "cpu"


@pytest.fixture(scope="module")
def results(run, nnunet_folders, small_unets, tmp_path_factory):
    """nnU-Net's results of the data set after both trainings."""
    folder = nnunet_folders["nnUNet_preprocessed"] / DATASET
    plans = json.loads((folder / "MSAMPlans.json").read_text(encoding="utf-8"))
    plans["plans_name"] = PLANS  # the configuration's data stay MSAMPlans'
    plans["configurations"]["3d_fullres"]["architecture"] = small_unets["residual encoder"]
    (folder / f"{PLANS}.json").write_text(json.dumps(plans))
    train = ("nnUNetv2_train", 900, "3d_fullres", 0, "-p", PLANS, "-device", "cpu", "-tr")
    run(*train, UNET)
    trained = nnunet_folders["nnUNet_results"] / DATASET
    checkpoint = trained / f"{UNET}__{PLANS}__3d_fullres" / "fold_0" / "checkpoint_final.pth"
    weights = tmp_path_factory.mktemp("weights") / "init.pth"
    run("msam", "convert-weights", checkpoint, "--dataset", 900, "-p", PLANS, "-c", "3d_fullres", "-o", weights)
    run(*train, CLICKED, "-pretrained_weights", weights)
    return trained


@pytest.fixture(scope="module")
def images(nnunet_folders):
    return nnunet_folders["nnUNet_raw"] / DATASET / "imagesTs"


@pytest.fixture(scope="module")
def predicted(run, results, images, tmp_path_factory):
    """A folder of predictions of each trainer."""
    folders = {}
    for trainer in (UNET, CLICKED):
        folders[trainer] = tmp_path_factory.mktemp(trainer)
        options = ("-npp", 1, "-nps", 1, "--save_probabilities")
        run("nnUNetv2_predict", "-i", images, "-o", folders[trainer], *model(trainer), *options)
    return folders


def test_the_automatic_result_of_a_frozen_unet_is_nnunets_bit_for_bit(predicted):
    segmentation = next(predicted[UNET].glob("*.nii.gz")).name
    assert (predicted[UNET] / segmentation).read_bytes() == (predicted[CLICKED] / segmentation).read_bytes()
    probabilities = segmentation.replace(".nii.gz", ".npz")
    arrays = [np.load(folder / probabilities)["probabilities"] for folder in predicted.values()]
    assert np.array_equal(*arrays) and len(np.unique(arrays[0])) > 100


def test_both_validate_alike(results):
    dice = []
    for trainer in (UNET, CLICKED):
        summary = results / f"{trainer}__{PLANS}__3d_fullres" / "fold_0" / "validation" / "summary.json"
        dice.append(json.loads(summary.read_text(encoding="utf-8"))["foreground_mean"]["Dice"])
    assert dice[0] == dice[1]


@pytest.mark.parametrize("trainer", [UNET, CLICKED])
def test_clicks_help(run, results, tmp_path, trainer):
    run("msam", "clicks", *model(trainer), "-n", 5, "-o", tmp_path / "clicks")
    scores = pd.read_csv(tmp_path / "clicks" / "clicks.csv").query("true_voxels > 0")
    dice = scores.groupby("clicks")["dice"].mean()
    assert dice[5] > dice[0]


@pytest.mark.parametrize("trainer", [UNET, CLICKED])
def test_recorded_clicks_are_followed_on_the_images_own_grid(run, results, predicted, images, tmp_path, trainer):
    image = sitk.ReadImage(str(next(images.iterdir())))
    case = next(images.iterdir()).name.removesuffix("_0000.nii.gz")
    (tmp_path / "prompts.json").write_text(json.dumps({case: {"tumour": {"points": [[1, 3, 2, 1]]}}}))
    run(
        "msam", "predict", *model(trainer), "-i", images, "-o", tmp_path / "out", "--prompts",
        tmp_path / "prompts.json", "--automatic",
    )  # fmt: skip
    found = sitk.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
    assert found.GetSize() == image.GetSize() and found[2, 3, 1] == 1


def test_exported_model_predicts_the_same_elsewhere(run, results, predicted, images, tmp_path):
    archive, elsewhere = tmp_path / "model.zip", {"nnUNet_results": str(tmp_path / "results")}
    run("nnUNetv2_export_model_to_zip", "-o", archive, *model(CLICKED)[:-2])
    (tmp_path / "results").mkdir()
    run("nnUNetv2_install_pretrained_model_from_zip", archive, **elsewhere)
    options = ("-npp", 1, "-nps", 1, "--save_probabilities")  # as before: without, nnU-Net rounds otherwise
    run("nnUNetv2_predict", "-i", images, "-o", tmp_path / "out", *model(CLICKED), *options, **elsewhere)
    case = next(predicted[CLICKED].glob("*.nii.gz")).name
    assert (tmp_path / "out" / case).read_bytes() == (predicted[CLICKED] / case).read_bytes()
