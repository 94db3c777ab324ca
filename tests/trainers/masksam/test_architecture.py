from copy import deepcopy

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UserError
from msam_nn.trainers.masksam.architecture import adopt_plans, network_config


def configuration_of(plans):
    return plans["configurations"]["3d_fullres"]


def adopted(plans, dataset_json, name="3d_fullres", channels=1, outputs=3):
    adopt_plans(plans, name, dataset_json)
    return network_config(PlansManager(plans).get_configuration(name), channels, outputs)


def test_our_plans_are_taken_as_they_are(masksam_plans):
    plans, dataset_json = masksam_plans
    before = deepcopy(plans)
    assert adopted(plans, dataset_json).patch_size == (4, 32, 32)
    assert plans == before


def test_background_follows_the_data_set_when_plans_were_moved(masksam_plans):
    plans, dataset_json = masksam_plans
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2}
    dataset_json["regions_class_order"] = [1, 2]
    assert adopted(plans, dataset_json, outputs=2).background is False


def test_an_inheriting_configuration_may_have_another_patch(masksam_plans):
    plans, dataset_json = masksam_plans
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": [6, 48, 40]}
    config = adopted(plans, dataset_json, "mine")
    assert config.patch_size == (6, 48, 40) and config.canvas == 48
    assert configuration_of(plans)["architecture"]["arch_kwargs"]["patch_size"] == [4, 32, 32]


def test_sams_canvas_stays_where_the_trunk_trains_on(masksam_plans):
    """freeze_trunk set to false by hand: SAM's weights still have to fit."""
    plans, dataset_json = masksam_plans
    network = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    network.update(freeze_trunk=False, canvas=1024)
    adopt_plans(plans, "3d_fullres", dataset_json)
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["canvas"] == 1024


@pytest.mark.parametrize(
    ("patch", "architecture", "message"),
    [
        ([4, 32, 30], {}, r"\(4, 32, 30\) does not divide into tokens of 4 x 4"),
        ([4, 32, 32], {"n_queries": 2}, "n_queries 2 must be at least num_classes 3"),
        ([4, 32, 32], {"flux_capacitor": 3}, "another version"),
    ],
)
def test_unusable_plans_say_why(masksam_plans, patch, architecture, message):
    plans, dataset_json = masksam_plans
    configuration_of(plans)["patch_size"] = patch
    configuration_of(plans)["architecture"]["arch_kwargs"].update(architecture)
    with pytest.raises(UserError, match=message):
        adopt_plans(plans, "3d_fullres", dataset_json)


def test_plans_of_another_planner_are_refused(phantom_plans):
    plans, dataset_json = phantom_plans
    with pytest.raises(UserError, match="MSAMPlans describe .*msam.build_from_plans, not a MaskSAM network: .*-pl"):
        adopt_plans(plans, "3d_fullres", dataset_json)
    with pytest.raises(UserError, match="no configuration 3d_lowres"):
        adopt_plans(plans, "3d_lowres", dataset_json)
