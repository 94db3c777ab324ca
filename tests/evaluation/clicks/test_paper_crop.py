from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.evaluation.clicks.case import ClickCase
from msam_nn.evaluation.clicks.paper_crop import PaperCrop, centred_crop
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.trainers.msam.trainer import MSAMTrainer


def make_case(*targets, valid=None):
    shape = targets[0].shape
    image = torch.arange(np.prod(shape), dtype=torch.float32).reshape(1, *shape) / np.prod(shape) + 1
    valid = np.ones(shape, bool) if valid is None else valid
    classes = [("a", 1), ("b", 2)][: len(targets)]
    return ClickCase("case", image, list(targets), valid, np.zeros(shape), classes, {}, Path("none"))


def line(n, *where):
    target = np.zeros((1, 1, n), bool)
    target[0, 0, list(where)] = True
    return target


@pytest.mark.parametrize(
    ("n", "where", "size", "found"),
    [
        (10, (7, 8), 4, (1, 2)),  # voxels 6 to 9
        (10, (0,), 4, (2,)),  # two voxels of padding before
        (10, (9,), 4, (2,)),  # one after
        (3, (1,), 6, (3,)),  # both
        (10, (2, 7), 4, ()),  # an object larger than the crop, hollow here, is cut off
    ],
)
def test_the_crop_is_centred_on_the_bounding_box(n, where, size, found):
    case = make_case(line(n, *where))
    image, target, valid = centred_crop(case, 0, (1, 1, size))
    assert image.shape == (1, 1, 1, size) and target.shape == valid.shape == (1, 1, size)
    assert tuple(target[0, 0].nonzero()[:, 0].tolist()) == found
    inside = case.image[0, 0, 0, list(where)][: len(found)]
    assert torch.equal(image[0, 0, 0, list(found)], inside)
    assert torch.equal(valid, image[0] > 0)  # padding is neither image nor valid


@pytest.fixture
def predictor(phantom_plans):
    plans = PlansManager(phantom_plans[0])
    configuration = plans.get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = MSAMTrainer.build_network_architecture(plans, configuration, 1, 3)
    predictor = PromptedPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], phantom_plans[1], "MSAMTrainer", None
    )
    return predictor


def target(*box):
    result = np.zeros((20, 40, 40), bool)
    result[box] = True
    return result


def test_ten_stages_a_class_and_seed_without_a_class_that_is_not_there(predictor):
    case = make_case(target(slice(2, 9), slice(5, 20), slice(5, 20)), target(slice(0), slice(0), slice(0)))
    rows = list(PaperCrop(seeds=[0, 1])(predictor, case))
    assert [(row["label"], row["seed"], row["clicks"]) for row in rows] == [
        ("a", seed, click) for seed in (0, 1) for click in range(1, 11)
    ]
    assert {row["true_voxels"] for row in rows} == {7 * 15 * 15}
    assert all(0 <= row["dice"] <= 1 and row["seconds"] > 0 for row in rows)
    again = list(PaperCrop(seeds=[0, 1])(predictor, case))
    assert [row["dice"] for row in again] == [row["dice"] for row in rows]


def test_ignored_voxels_are_not_measured(predictor):
    valid = ~target(slice(2, 9), slice(5, 20), slice(5, 12))
    case = make_case(target(slice(2, 9), slice(5, 20), slice(5, 20)), valid=valid)
    rows = list(PaperCrop(n_stages=2)(predictor, case))
    assert {row["true_voxels"] for row in rows} == {7 * 15 * 8}


def test_it_says_what_it_is():
    assert "not comparable" in PaperCrop.name
