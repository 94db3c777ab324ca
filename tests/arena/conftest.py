"""Grids on the phantom data set, and trainers that end in seconds."""

import pytest
import yaml

pytest.importorskip("submitit", reason='needs pip install "msam_nn[arena]"')

TRAINERS = '''
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.trainers.msam.trainer import MSAMTrainer


class TinyTrainer(MSAMTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 1, 1


class SlowTrainer(TinyTrainer):
    """Waits in its third epoch until a file appears, so that a test can kill it there."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.save_every = 3, 1

    def on_train_epoch_start(self):
        import os, time
        super().on_train_epoch_start()
        while self.current_epoch == 2 and not os.path.exists(os.environ["GO_ON"]):
            time.sleep(0.1)


class FailingTrainer(TinyTrainer):
    def train_step(self, batch):
        raise RuntimeError("the cat sat on the keyboard")
'''


@pytest.fixture
def arena(nnunet_folders, tmp_path, monkeypatch):
    """Write ``grid.yaml`` of the given entries and return its path; results are in a folder of the test's own."""
    external = tmp_path / "trainers"
    external.mkdir()
    (external / "arena_test_trainers.py").write_text(TRAINERS)
    monkeypatch.setenv("nnUNet_extTrainer", str(external))
    monkeypatch.setenv("GO_ON", str(tmp_path / "go_on"))
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_raw", str(nnunet_folders["nnUNet_raw"]))
    monkeypatch.setenv("nnUNet_preprocessed", str(nnunet_folders["nnUNet_preprocessed"]))

    def write(**entries):
        defaults = {"datasets": [900], "device": "cpu", "cores_per_job": 1, "measure_prediction": False}
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump({**defaults, **entries}, sort_keys=False))
        return file

    return write


M_SAM = {"M-SAM": {"trainer": "MSAMTrainer", "plans": "MSAMPlans"}}
