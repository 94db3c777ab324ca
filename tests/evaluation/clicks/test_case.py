from math import nan

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UserError
from msam_nn.evaluation.clicks.case import ClickCase, click_generator, mask_scores
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.trainers.msam.trainer import MSAMTrainer

PHANTOM = "Dataset900_TumourPhantom"


@pytest.fixture
def case(phantom_plans, nnunet_folders):
    plans = PlansManager(phantom_plans[0])
    configuration = plans.get_configuration("3d_fullres")
    network = MSAMTrainer.build_network_architecture(plans, configuration, 1, 3)
    predictor = PromptedPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], phantom_plans[1], "MSAMTrainer", None
    )
    raw = nnunet_folders["nnUNet_raw"] / PHANTOM
    label = sorted((raw / "labelsTr").iterdir())[0]
    name = label.name.removesuffix(".nii.gz")
    return predictor, ClickCase.load(predictor, name, [raw / "imagesTr" / f"{name}_0000.nii.gz"], label)


def test_the_truth_as_prediction_is_nearly_perfect_on_the_original_grid(case):
    predictor, case = case
    logits = torch.stack([torch.zeros(case.valid.shape), *(torch.from_numpy(t) * 20.0 - 10 for t in case.targets)])
    scores = {score["label"]: score for score in case.measure(predictor, logits, 1.0)}
    for name, value in case.classes:
        assert scores[name]["true_voxels"] == (case.truth == value).sum() > 0
        assert scores[name]["dice"] > 0.9 and scores[name]["nsd"] > 0.9
    assert case.image.shape[1:] == case.valid.shape and case.valid.all()


def test_masks_from_a_folder_are_those_of_the_classes(case, nnunet_folders, tmp_path):
    predictor, case = case
    labels = nnunet_folders["nnUNet_raw"] / PHANTOM / "labelsTr"
    masks = case.given_masks(predictor, labels)
    assert len(masks) == len(case.classes) == 2
    for given, target in zip(masks, case.targets, strict=True):
        given = (given > 0.5).numpy()
        assert given.shape == target.shape and 2 * (given & target).sum() / (given.sum() + target.sum()) > 0.9
    turned = sitk.ReadImage(str(labels / f"{case.name}.nii.gz"))
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    (tmp_path / "turned").mkdir()
    sitk.WriteImage(turned, tmp_path / "turned" / f"{case.name}.nii.gz")
    with pytest.raises(UserError, match="orientation"):
        case.given_masks(predictor, tmp_path / "turned")
    with pytest.raises(UserError, match=f"no file .*{case.name}.nii.gz"):
        case.given_masks(predictor, tmp_path)
    sitk.WriteImage(sitk.Image(9, 8, 7, sitk.sitkUInt8), tmp_path / f"{case.name}.nii.gz")
    with pytest.raises(UserError, match=r"has \(7, 8, 9\) voxels .*is it another case's"):
        case.given_masks(predictor, tmp_path)


def test_scores_by_hand():
    prediction, truth = np.zeros((2, 4, 4, 8), bool)
    truth[1:3, 1:3, 1:5], prediction[1:3, 1:3, 1:3] = True, True
    scores = mask_scores(prediction, truth, (1, 1, 1), 3.0)
    assert scores["dice"] == pytest.approx(2 / 3) and scores["iou"] == 0.5
    assert scores["nsd"] == 1 and scores["true_voxels"] == 16  # nothing is 3 mm away
    assert 1 <= scores["hd95"] <= 2


def test_nothing_there_and_nothing_found_is_undefined():
    empty = np.zeros((2, 2, 2), bool)
    assert mask_scores(empty, empty, (1, 1, 1), 1.0) == pytest.approx(
        {"dice": nan, "iou": nan, "nsd": nan, "hd95": nan, "true_voxels": 0}, nan_ok=True
    )


def test_generators_belong_to_case_and_seed():
    def draw(*what):
        return float(torch.rand(1, generator=click_generator(*what)))

    assert draw("a", 0) == draw("a", 0)
    assert len({draw("a", 0), draw("a", 1), draw("b", 0)}) == 3
