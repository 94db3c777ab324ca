from copy import deepcopy

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.networks import BUILDER
from msam_nn.trainers.msam.architecture import adopt_plans, network_config

UNET = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {"strides": [[1, 1, 1]]},
    "_kw_requires_import": [],
}


def configuration_of(plans):
    return plans["configurations"]["3d_fullres"]


def config(plans, channels=1, outputs=3):
    return network_config(PlansManager(plans).get_configuration("3d_fullres"), channels, outputs)


def test_our_plans_are_taken_as_they_are(phantom_plans):
    plans, dataset_json = phantom_plans
    before = deepcopy(plans)
    adopt_plans(plans, "3d_fullres", dataset_json)
    assert plans == before
    assert config(plans).num_classes == 2


def test_plans_of_another_planner_get_an_architecture_for_their_patch(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration_of(plans).update(architecture=UNET, patch_size=[20, 48, 40])
    adopt_plans(plans, "3d_fullres", dataset_json)
    assert configuration_of(plans)["architecture"]["network_class_name"] == BUILDER
    assert config(plans).patch_size == (20, 48, 40) and not config(plans).checkpoint_stages


def test_their_batch_and_classes_say_whether_stages_are_computed_again(phantom_plans):
    plans, dataset_json = phantom_plans
    dataset_json["labels"] = {"background": 0, **{f"organ {n}": n for n in range(1, 9)}}
    configuration_of(plans).update(architecture=UNET, patch_size=[128, 128, 128], batch_size=2)
    adopt_plans(plans, "3d_fullres", dataset_json)
    assert config(plans, outputs=9).checkpoint_stages


def test_background_follows_the_data_set_when_plans_were_moved(phantom_plans):
    plans, dataset_json = phantom_plans
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2}
    dataset_json["regions_class_order"] = [1, 2]
    adopt_plans(plans, "3d_fullres", dataset_json)
    assert config(plans, outputs=2).background is False
    assert config(plans, outputs=2).num_classes == 2


def test_an_inheriting_configuration_gets_its_own_architecture(phantom_plans):
    plans, dataset_json = phantom_plans
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    adopt_plans(plans, "mine", dataset_json)
    assert plans["configurations"]["mine"]["architecture"] == configuration_of(plans)["architecture"]


@pytest.mark.parametrize(
    ("patch", "tokens"), [([24, 48, 32], (8, 8, 8)), ([12, 32, 32], (4, 4, 4)), ([10, 32, 32], (2, 4, 4))]
)
def test_an_inheriting_configuration_with_another_patch_keeps_the_network_and_its_tokens_if_they_fit(
    phantom_plans, patch, tokens
):
    plans, dataset_json = phantom_plans
    parent = deepcopy(configuration_of(plans))
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": patch}
    plans["configurations"]["heir"] = {"inherits_from": "mine", "batch_size": 5}
    for name in ("mine", "heir"):
        adopt_plans(plans, name, dataset_json)
        adopted = network_config(PlansManager(plans).get_configuration(name), 1, 3)
        assert list(adopted.patch_size) == patch
        assert adopted.token_size == tokens
        assert adopted.embed_dim == parent["architecture"]["arch_kwargs"]["embed_dim"]
    assert configuration_of(plans) == parent


def test_released_geometry_cannot_be_inherited_on_a_patch_that_is_no_cube(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration_of(plans)["architecture"]["arch_kwargs"].update(
        relative_position="sammed3d", patch_size=[32, 32, 32], token_size=[16, 16, 16]
    )
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": [32, 64, 64]}
    with pytest.raises(UserError, match="cubic token grid"):
        adopt_plans(plans, "mine", dataset_json)


def test_2d_is_not_implemented_and_says_what_is(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration_of(plans).update(architecture=UNET, patch_size=[48, 40])
    with pytest.raises(NotImplementedError, match="3d_fullres"):
        adopt_plans(plans, "3d_fullres", dataset_json)
    assert issubclass(UnsupportedError, UserError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": [16, 32, 30]}, "not a multiple of the ViT patch"),
        ({"flux_capacitor": 3}, "another version"),
        ({"decoder_dim": 50}, "multiple"),
    ],
)
def test_unusable_plans_say_why(phantom_plans, change, message):
    plans, dataset_json = phantom_plans
    configuration_of(plans)["architecture"]["arch_kwargs"].update(change)
    if "patch_size" in change:
        configuration_of(plans)["patch_size"] = change["patch_size"]
    with pytest.raises(UserError, match=message):
        adopt_plans(plans, "3d_fullres", dataset_json)


def test_a_patch_size_changed_in_one_place_only_is_noticed(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration_of(plans)["patch_size"] = [16, 32, 40]
    with pytest.raises(UserError, match="set both"):
        adopt_plans(plans, "3d_fullres", dataset_json)


def test_a_missing_configuration_is_named(phantom_plans):
    plans, dataset_json = phantom_plans
    with pytest.raises(UserError, match="no configuration 3d_lowres"):
        adopt_plans(plans, "3d_lowres", dataset_json)


def test_prediction_with_foreign_plans_says_so(phantom_plans):
    plans, _ = phantom_plans
    configuration_of(plans)["architecture"] = UNET
    with pytest.raises(UserError, match="PlainConvUNet"):
        config(plans)
