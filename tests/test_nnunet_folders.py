import json

import pytest
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results

from msam_nn.errors import UserError
from msam_nn.nnunet_folders import dataset_name, labelled_cases, model_folder, read_json, split, validation_cases

DATASET = "Dataset007_Test"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """nnU-Net's folders with a data set of three two-channel cases, two folds, and one trained fold."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name / DATASET).mkdir(parents=True)
    raw, preprocessed, results = (tmp_path / f"nnUNet_{n}" / DATASET for n in ("raw", "preprocessed", "results"))
    (raw / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    for folder, endings in (("imagesTr", ("_0000", "_0001")), ("labelsTr", ("",))):
        (raw / folder).mkdir()
        for case in "abc":
            for ending in endings:
                (raw / folder / f"{case}{ending}.nii.gz").touch()
    splits = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "lost"]}]
    (preprocessed / "splits_final.json").write_text(json.dumps(splits))
    (results / "T__P__3d_fullres" / "fold_0").mkdir(parents=True)
    (results / "T__P__3d_fullres" / "fold_0" / "checkpoint_final.pth").touch()
    labelled_cases.cache_clear()
    return tmp_path


@pytest.mark.parametrize("dataset", [7, "7", "007", DATASET])
def test_name_of_a_data_set(folders, dataset):
    assert dataset_name(dataset) == DATASET


@pytest.mark.parametrize("dataset", [8, "8", "tumour", "Dataset008_Absent"])
def test_unknown_data_set(folders, dataset):
    with pytest.raises(UserError, match=f"no data set {dataset}"):
        dataset_name(dataset)


def test_ambiguous_data_set(folders):
    (folders / "nnUNet_raw" / "Dataset007_Other").mkdir()
    with pytest.raises(UserError, match="more than one data set 7"):
        dataset_name(7)


def test_only_some_folders_are_asked(folders, monkeypatch):
    (folders / "nnUNet_results" / "Dataset008_Imported").mkdir()
    assert dataset_name(8) == dataset_name(8, [nnUNet_results]) == "Dataset008_Imported"
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(UserError, match="no data set 8 in nnUNet_raw and nnUNet_preprocessed") as caught:
        dataset_name(8, [nnUNet_raw, nnUNet_preprocessed])
    assert f"Looked in {folders / 'nnUNet_raw'}, {folders / 'nnUNet_preprocessed'}." in str(caught.value)


def test_a_path_is_no_name(folders):
    with pytest.raises(UserError, match="no data set"):
        dataset_name(str(folders / "nnUNet_raw" / DATASET))


def test_unset_variable(folders, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed")
    with pytest.raises(UserError, match="nnUNet_preprocessed is not set"):
        dataset_name(7)


def test_model_folder_needs_finished_folds(folders):
    assert model_folder(DATASET, "T", "P", "3d_fullres", [0]).name == "T__P__3d_fullres"
    with pytest.raises(UserError, match="no finished fold 1"):
        model_folder(DATASET, "T", "P", "3d_fullres", [0, 1])


@pytest.mark.parametrize("fold", [2, -1])
def test_unknown_fold(folders, fold):
    with pytest.raises(UserError, match=f"has no fold {fold}"):
        split(DATASET, fold)


def test_validation_cases_have_every_channel(folders):
    cases = validation_cases(DATASET, 0)
    assert list(cases) == ["c"]
    assert [f.name for f in cases["c"].images] == ["c_0000.nii.gz", "c_0001.nii.gz"]
    assert cases["c"].label.name == "c.nii.gz"


def test_lost_case(folders):
    with pytest.raises(UserError, match="lacks validation cases of fold 1: lost"):
        validation_cases(DATASET, 1)


def test_no_raw_data(folders):
    with pytest.raises(UserError, match="no raw data set"):
        labelled_cases("Dataset009_Planned")


def test_the_splits_are_those_that_nnunet_writes(nnunet_folders, tmp_path, monkeypatch):
    import shutil

    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from msam_nn.nnunet_folders import write_splits

    name = "Dataset900_TumourPhantom"
    shutil.copytree(nnunet_folders["nnUNet_preprocessed"] / name, tmp_path / name)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    file = tmp_path / name / "splits_final.json"
    file.unlink(missing_ok=True)
    write_splits(name)
    ours = json.loads(file.read_text())
    file.unlink()
    plans = json.loads((tmp_path / name / "MSAMPlans.json").read_text()) | {"continue_training": False}
    dataset_json = json.loads((tmp_path / name / "dataset.json").read_text())
    nnUNetTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu")).do_split()
    assert json.loads(file.read_text()) == ours and len(ours) == 5


def test_a_json_file(folders):
    file = folders / "nnUNet_raw" / DATASET / "dataset.json"
    assert read_json(file, "") == {"file_ending": ".nii.gz"}
    file.write_text("{")
    with pytest.raises(UserError, match="dataset.json is not readable JSON"):
        read_json(file, "")
    file.unlink()
    with pytest.raises(UserError, match="There is no file .*dataset.json. Mend it so."):
        read_json(file, "Mend it so.")
