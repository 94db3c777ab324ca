import json
import shutil

import pytest

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.networks import BUILDER
from msam_nn.preprocessing.planners import MSAMPlanner

PHANTOM = "Dataset900_TumourPhantom"


@pytest.fixture
def dataset(nnunet_folders, tmp_path, monkeypatch):
    """A private copy of the phantom's metadata that a test may change: raw folder, preprocessed folder."""
    folders = {}
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        source, copy = nnunet_folders[name] / PHANTOM, tmp_path / name / PHANTOM
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.b2nd", "*.pkl"))
        monkeypatch.setenv(name, str(tmp_path / name))
        folders[name] = copy
    return folders["nnUNet_raw"], folders["nnUNet_preprocessed"]


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changes}))


def test_plans_hold_only_3d_configurations_and_their_reasons(dataset):
    plans = MSAMPlanner(900).plan_experiment()
    assert plans["plans_name"] == "MSAMPlans" and "2d" not in plans["configurations"]
    written = json.loads((dataset[1] / "MSAMPlans.json").read_text(encoding="utf-8"))
    configuration = written["configurations"]["3d_fullres"]
    kwargs = configuration["architecture"]["arch_kwargs"]
    assert configuration["architecture"]["network_class_name"] == BUILDER
    assert kwargs["patch_size"] == configuration["patch_size"]
    assert kwargs["background"] is True
    assert len(configuration["planning_notes"]) == 7
    assert configuration["batch_size"] >= 2
    assert configuration["oversample_foreground_percent"] == 0.5


def test_custom_configurations_survive_planning_again(dataset):
    file = dataset[1] / "MSAMPlans.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 3}
    file.write_text(json.dumps(plans))
    MSAMPlanner(900).plan_experiment()
    assert json.loads(file.read_text(encoding="utf-8"))["configurations"]["mine"]["batch_size"] == 3


def test_target_spacing_can_be_overwritten(dataset):
    plans = MSAMPlanner(900, plans_name="Coarse", overwrite_target_spacing=[8.0, 4.0, 4.0]).plan_experiment()
    assert list(plans["configurations"]["3d_fullres"]["spacing"]) == [8.0, 4.0, 4.0]
    assert plans["configurations"]["3d_fullres"]["data_identifier"] == "Coarse_3d_fullres"


def test_large_images_get_a_low_resolution_configuration(dataset):
    file = dataset[1] / "dataset_fingerprint.json"
    fingerprint = json.loads(file.read_text(encoding="utf-8"))
    n = len(fingerprint["spacings"])
    edit(file, spacings=[[1.0, 1.0, 1.0]] * n, shapes_after_crop=[[400, 400, 400]] * n)
    plans = MSAMPlanner(900).plan_experiment()
    assert set(plans["configurations"]) == {"3d_fullres", "3d_lowres", "3d_cascade_fullres"}
    assert plans["configurations"]["3d_lowres"]["architecture"]["network_class_name"] == BUILDER


def test_regions_have_no_background(dataset):
    edit(
        dataset[0] / "dataset.json",
        labels={"background": 0, "both": [1, 2], "organ": 2},
        regions_class_order=[1, 2],
    )
    plans = MSAMPlanner(900).plan_experiment()
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["background"] is False


def test_2d_images_are_refused(dataset):
    file = dataset[1] / "dataset_fingerprint.json"
    n = len(json.loads(file.read_text(encoding="utf-8"))["spacings"])
    edit(file, spacings=[[999.0, 1.0, 1.0]] * n, shapes_after_crop=[[1, 64, 64]] * n)
    with pytest.raises(UnsupportedError, match="2D images"):
        MSAMPlanner(900).plan_experiment()


def test_a_data_set_without_cases_is_refused(dataset):
    for file in (dataset[0] / "labelsTr").iterdir():
        file.unlink()
    for file in (dataset[0] / "imagesTr").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="no training case"):
        MSAMPlanner(900)
