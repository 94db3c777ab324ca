import pytest

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.inspection.plan_facts import read_plan_facts


def test_facts_in_the_array_order_of_the_images(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration = plans["configurations"]["3d_fullres"]
    plans["transpose_forward"], plans["transpose_backward"] = [1, 0, 2], [1, 0, 2]
    configuration["spacing"] = [2.0, 3.0, 1.0]
    configuration["architecture"]["arch_kwargs"]["token_size"] = [4, 8, 8]
    configuration.update(planning_notes=["because"], oversample_foreground_percent=0.6)
    facts = read_plan_facts(plans, "3d_fullres", dataset_json)
    assert facts.spacing == (3, 2, 1)
    assert facts.token_mm == (24, 8, 8) and facts.token_mm3 == 24 * 8 * 8
    assert facts.settings["token"] == "8 × 4 × 8 voxels, 24 × 8 × 8 mm"
    assert facts.settings["patch"].startswith("32 × 16 × 32 voxels")
    assert facts.settings["patches on foreground"] == "60%"
    assert facts.notes == ("because",) and facts.fine_masks
    configuration["architecture"]["arch_kwargs"].update(pyramid=[], initial_masks=False)
    assert not read_plan_facts(plans, "3d_fullres", dataset_json).fine_masks


def test_plans_of_another_planner_show_the_network_that_training_derives(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration = plans["configurations"]["3d_fullres"]
    for ours in ("planning_notes", "oversample_foreground_percent"):
        configuration.pop(ours, None)
    configuration["architecture"] = {"network_class_name": "a.U.Net", "arch_kwargs": {}, "_kw_requires_import": []}
    facts = read_plan_facts(plans, "3d_fullres", dataset_json)
    assert facts.notes == () and "patches on foreground" not in facts.settings
    assert "blocks" in facts.settings["network"]
    assert plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] == "a.U.Net"


def test_a_2d_configuration(phantom_plans):
    plans, dataset_json = phantom_plans
    plans["configurations"]["2d"] = {**plans["configurations"]["3d_fullres"], "patch_size": [32, 32]}
    with pytest.raises(UnsupportedError, match="2d is 2D: use 3d_fullres"):
        read_plan_facts(plans, "2d", dataset_json)


def test_unknown_configuration(phantom_plans):
    with pytest.raises(UserError, match="no configuration 2d"):
        read_plan_facts(phantom_plans[0], "2d", phantom_plans[1])
