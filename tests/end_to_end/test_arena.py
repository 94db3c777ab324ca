"""A grid of real, tiny trainings through submitit's processes: killed, resumed, one failing, and its report."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from .conftest import SCRIPTS

pytestmark = pytest.mark.slow
pytest.importorskip("submitit", reason='needs pip install "msam_nn[arena]"')

TRAINERS = '''
import os
import time

import torch

from msam_nn.trainers.msam.trainer import MSAMTrainer


class TinyTrainer(MSAMTrainer):
    """Two epochs of a step; SlowTrainer waits in the second until a file appears, so that a test can kill it there."""

    waits = False

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 1, 1
        self.save_every = 1

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        while self.waits and self.current_epoch == 1 and not os.path.exists(os.environ["GO_ON"]):
            time.sleep(0.1)


class SlowTrainer(TinyTrainer):
    waits = True


class FailingTrainer(TinyTrainer):
    def train_step(self, batch):
        raise RuntimeError("the cat sat on the keyboard")
'''
GRID = """
datasets: [900]
seeds: [1]
device: cpu
cores_per_job: 1
methods:
  slow: {trainer: SlowTrainer, plans: MSAMPlans, clicks: -n 1}
  failing: {trainer: FailingTrainer, plans: MSAMPlans}
"""
MODEL = "Dataset900_TumourPhantom/SlowTrainer__MSAMPlans__3d_fullres/fold_0"


def test_a_grid_killed_in_the_middle_goes_on(nnunet_folders, tmp_path):
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "arena_trainers.py").write_text(TRAINERS)
    (tmp_path / "results").mkdir()
    (tmp_path / "grid.yaml").write_text(GRID)
    environment = {
        **os.environ, "nnUNet_extTrainer": str(tmp_path / "trainers"), "GO_ON": str(tmp_path / "go_on"),
        "nnUNet_results": str(tmp_path / "results"),
    }  # fmt: skip
    command = [sys.executable, str(SCRIPTS / "msam"), "arena"]
    jobs, fold = tmp_path / "grid_arena" / "jobs", tmp_path / "results" / "seed_1" / MODEL
    slow = jobs / "train.Dataset900_TumourPhantom.SlowTrainer__MSAMPlans__3d_fullres.fold_0.seed_1"

    def arena(*words):
        return subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
        )  # fmt: skip

    first = subprocess.Popen([*command, "grid.yaml"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    while not (fold / "checkpoint_latest.pth").is_file():
        assert first.poll() is None
        time.sleep(0.2)
    os.kill(json.loads((slow / "running.json").read_text())["pid"], signal.SIGKILL)
    assert first.wait() == 1  # the failing one failed too, and the report has nothing to report
    status = arena("status", "grid.yaml")
    assert status.returncode == 1 and "the cat sat on the keyboard" in status.stdout
    assert "add --resume" in arena("grid.yaml").stderr

    (tmp_path / "go_on").touch()
    again = arena("grid.yaml", "--resume")
    assert again.returncode == 1, again.stderr
    assert "the cat sat on the keyboard" in again.stdout and "5 of 6 jobs finished" in again.stdout
    made = [json.loads(line) for line in (slow / "attempts.jsonl").read_text().splitlines()]
    assert [entry["status"] for entry in made] == [-signal.SIGKILL, 0]
    assert "--c" not in made[0]["command"] and "--c" in made[1]["command"] and made[1]["cpu_seconds"] > 1
    logs = sorted(fold.glob("training_log_*.txt"))
    assert "Epoch 0" in logs[0].read_text() and "Epoch 0" not in logs[-1].read_text()
    assert all("Seed: 1" in log.read_text() for log in logs)

    report = tmp_path / "grid_arena" / "report"
    table = pd.read_csv(report / "table1.csv")
    assert list(table["method"]) == ["slow", "image-blind ellipsoid"]
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert float(table["Dice"][0].split(" ")[0]) == pytest.approx(summary["foreground_mean"]["Dice"], abs=6e-4)
    assert set(pd.read_csv(report / "clicks.csv")["clicks"]) == {0, 1}
    assert "FailingTrainer" in (report / "arena.html").read_text(encoding="utf-8")

    before = (slow / "attempts.jsonl").read_text()
    arena("grid.yaml", "--resume")
    assert (slow / "attempts.jsonl").read_text() == before
