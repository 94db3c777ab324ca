import json

import pytest

from msam_nn.networks.masksam import BUILDER, MaskSAMConfig
from msam_nn.preprocessing.masksam.planner import MaskSAMPlanner, MaskSAMPlannerL, MaskSAMPlannerTiny

PHANTOM = "Dataset900_TumourPhantom"


@pytest.fixture
def preprocessed(nnunet_folders, tmp_path, monkeypatch):
    """A private folder for plans, with the phantom's fingerprint."""
    folder = tmp_path / PHANTOM
    folder.mkdir()
    source = nnunet_folders["nnUNet_preprocessed"] / PHANTOM / "dataset_fingerprint.json"
    (folder / source.name).write_text(source.read_text(encoding="utf-8"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    return folder


def test_plans_hold_2d_and_3d_networks_and_their_reasons(preprocessed):
    MaskSAMPlanner(900, 0.5).plan_experiment()
    plans = json.loads((preprocessed / "MaskSAMPlans.json").read_text(encoding="utf-8"))
    assert set(plans["configurations"]) == {"2d", "3d_fullres"}
    for name, axes in (("2d", 2), ("3d_fullres", 3)):
        configuration = plans["configurations"][name]
        kwargs = configuration["architecture"]["arch_kwargs"]
        assert configuration["architecture"]["network_class_name"] == BUILDER
        assert len(configuration["patch_size"]) == axes
        assert kwargs["patch_size"][3 - axes :] == configuration["patch_size"]
        assert MaskSAMConfig.from_arch_kwargs(1, 3, kwargs).background
        assert len(configuration["planning_notes"]) in (8, 9)
        assert configuration["batch_size"] >= 2 and configuration["oversample_foreground_percent"] >= 0.5


@pytest.mark.parametrize(
    ("planner", "plans_name", "width"),
    [(MaskSAMPlannerTiny, "MaskSAMTinyPlans", 192), (MaskSAMPlannerL, "MaskSAMLPlans", 1024)],
)
def test_sizes_have_plans_of_their_own(preprocessed, planner, plans_name, width):
    planner(900, 24).plan_experiment()
    plans = json.loads((preprocessed / f"{plans_name}.json").read_text(encoding="utf-8"))
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["embed_dim"] == width


def test_2d_data_sets_have_patches_of_one_slice(preprocessed):
    file = preprocessed / "dataset_fingerprint.json"
    fingerprint = json.loads(file.read_text(encoding="utf-8"))
    n = len(fingerprint["spacings"])
    fingerprint.update(spacings=[[999.0, 1.0, 1.0]] * n, shapes_after_crop=[[1, 64, 48]] * n)
    file.write_text(json.dumps(fingerprint))
    plans = MaskSAMPlanner(900, 0.5).plan_experiment()
    assert set(plans["configurations"]) == {"2d"}
    assert plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["patch_size"] == [1, 64, 48]
