"""Plans that users change: another spacing and name, a configuration of their own, another data set."""

import json
import shutil

import numpy as np
import pytest
import torch

from msam_nn.preprocessing.planners import MSAMPlanner
from msam_nn.trainers.component_sampling import ComponentDataset
from msam_nn.trainers.msam.trainer import MSAMTrainer

SOURCE, TARGET = "Dataset900_TumourPhantom", "Dataset951_Moved"


@pytest.mark.slow
def test_respaced_plans_with_a_custom_patch_train_on_another_data_set(run, nnunet_folders):
    raw, preprocessed = nnunet_folders["nnUNet_raw"], nnunet_folders["nnUNet_preprocessed"]
    options = ("-overwrite_target_spacing", 8.0, 4.0, 4.0, "-overwrite_plans_name", "Coarse")
    run("nnUNetv2_plan_experiment", "-d", 900, "-pl", MSAMPlanner.__name__, "-gpu_memory_target", 2, *options)
    file = preprocessed / SOURCE / "Coarse.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    planned = plans["configurations"]["3d_fullres"]
    assert planned["spacing"] == [8.0, 4.0, 4.0] and planned["data_identifier"] == "Coarse_3d_fullres"
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "patch_size": [8, 16, 16]}
    assert planned["patch_size"] != [8, 16, 16]
    file.write_text(json.dumps(plans))

    shutil.copytree(raw / SOURCE, raw / TARGET)
    dataset_json = json.loads((raw / TARGET / "dataset.json").read_text(encoding="utf-8"))
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2}
    dataset_json["regions_class_order"] = [1, 2]
    (raw / TARGET / "dataset.json").write_text(json.dumps(dataset_json))
    run("nnUNetv2_extract_fingerprint", "-d", 951, "-np", 1)
    run("nnUNetv2_move_plans_between_datasets", "-s", 900, "-t", 951, "-sp", "Coarse", "-tp", "Moved")
    shutil.copy(raw / TARGET / "dataset.json", preprocessed / TARGET)
    run("nnUNetv2_preprocess", "-d", 951, "-plans_name", "Moved", "-c", "mine", "-np", 1)

    moved = json.loads((preprocessed / TARGET / "Moved.json").read_text(encoding="utf-8"))
    assert moved["dataset_name"] == TARGET
    moved["continue_training"] = False
    trainer = MSAMTrainer(moved, "mine", 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    assert trainer.msam.config.patch_size == (8, 16, 16) and not trainer.msam.config.background
    assert isinstance(trainer.get_tr_and_val_datasets()[0], ComponentDataset)
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(trainer.get_dataloaders()[0]))["loss"])
