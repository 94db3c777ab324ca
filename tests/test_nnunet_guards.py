import json
import zipfile

import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.nnunet_guards import insist_on_model, insist_on_plans, is_ours, weights_of

MODEL = "MSAMTrainer__MSAMPlans__3d_fullres"


@pytest.mark.parametrize("name", ["MSAMTrainer", "MSAMTrainer_5minutes"])
def test_our_trainers(name):
    assert is_ours(name)


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainer",
        "nnUNetTrainerNoMirroring",
        "nnUNetTrainer_100epochs",
        "nnUNetTrainer_7cpuminutes",
        "MSAMTrainr",
    ],
)
def test_others(name):
    assert not is_ours(name)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path


def test_plans_that_are_there(folders):
    (folders / "preprocessed" / "Dataset701_A").mkdir()
    (folders / "preprocessed" / "Dataset701_A" / "MSAMPlans.json").touch()
    insist_on_plans("Dataset701_A", "MSAMPlans")
    with pytest.raises(UserError, match="has no plans MyPlans .*there are MSAMPlans"):
        insist_on_plans("Dataset701_A", "MyPlans")


def test_no_variable_no_data_set_no_plans(folders, monkeypatch):
    (folders / "raw" / "Dataset702_B").mkdir(exist_ok=True)
    with pytest.raises(UserError, match="it has not been planned.*-pl MSAMPlanner"):
        insist_on_plans("Dataset702_B", "MSAMPlans")
    with pytest.raises(UserError, match="no data set tumour"):
        insist_on_plans("tumour", "MSAMPlans")
    monkeypatch.setenv("nnUNet_preprocessed", "")
    with pytest.raises(UserError, match="nnUNet_preprocessed is not set"):
        insist_on_plans("701", "MSAMPlans")


def test_training_nodes_need_no_raw_data(folders, monkeypatch):
    (folders / "preprocessed" / "Dataset701_A").mkdir()
    (folders / "preprocessed" / "Dataset701_A" / "MSAMPlans.json").touch()
    monkeypatch.delenv("nnUNet_raw")
    insist_on_plans("701", "MSAMPlans")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / MODEL
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans", "dataset"):
        (folder / f"{name}.json").write_text(json.dumps({}))
    with zipfile.ZipFile(folder / "fold_0" / "checkpoint_final.pth", "w") as file:
        file.writestr("data", "weights")
    return folder


def test_a_model_that_is_there(model):
    insist_on_model(model, (0,), "checkpoint_final.pth")
    insist_on_model(model, None, "checkpoint_final.pth")


def test_a_model_that_is_not_there_names_its_siblings(model):
    with pytest.raises(UserError, match=f"There is no model .*trained are {MODEL}"):
        insist_on_model(model.with_name("MSAMTrainer__Other__3d_fullres"), (0,), "checkpoint_final.pth")


@pytest.mark.parametrize(
    ("folds", "checkpoint", "words"),
    [((0, 1), "checkpoint_final.pth", "of fold 1, only of fold 0"), ("0", "checkpoint_best.pth", "of no fold")],
)
def test_missing_checkpoints(model, folds, checkpoint, words):
    with pytest.raises(UserError, match=words):
        insist_on_model(model, folds, checkpoint)


def test_damaged_files(model):
    file = model / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(UserError, match="is damaged"):
        insist_on_model(model, (0,), "checkpoint_final.pth")
    (model / "plans.json").write_text("{")
    with pytest.raises(UserError, match="plans.json is no JSON"):
        insist_on_model(model, (0,), "checkpoint_final.pth")
    (model / "plans.json").unlink()
    with pytest.raises(UserError, match="no plans.json"):
        insist_on_model(model, (0,), "checkpoint_final.pth")


def test_weights_of_another_network(model):
    weights = torch.nn.Linear(2, 2).state_dict()
    sentence = r'MSAMTrainer__.* \(Missing key\(s\) in state_dict: "0.weight".*\): predict with'
    with pytest.raises(UserError, match=sentence), weights_of(model):
        torch.nn.Sequential(torch.nn.Linear(2, 2)).load_state_dict(weights)
    with pytest.raises(RuntimeError, match="^out of memory$"), weights_of(model):
        raise RuntimeError("out of memory")
