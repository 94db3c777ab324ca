"""A disk that is really full: a tmpfs of 64 KiB."""

import subprocess
import sys
import zipfile

import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.networks.weights.files import write_weight_file
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_weights_are_written_whole_or_not_at_all(small_disk):
    with pytest.raises(UserError, match="could not be written"):
        write_weight_file({"weights": torch.zeros(100_000)}, small_disk / "init.pth")
    assert not list(small_disk.iterdir())


def test_a_checkpoint_that_does_not_fit_leaves_the_last_one(small_disk, phantom_plans, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    plans, dataset_json = phantom_plans
    trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    (small_disk / "checkpoint_latest.pth").write_text("the last one")
    with pytest.raises(UserError, match="could not be written.*untouched.*--c"):
        trainer.save_checkpoint(str(small_disk / "checkpoint_latest.pth"))
    assert [f.name for f in small_disk.iterdir()] == ["checkpoint_latest.pth"]
    assert (small_disk / "checkpoint_latest.pth").read_text(encoding="utf-8") == "the last one"


def test_an_error_of_the_gpu_is_not_taken_for_a_full_disk_or_another_version(phantom_plans, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    plans, dataset_json = phantom_plans
    trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="^CUDA error"):
        trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    monkeypatch.setattr(torch, "load", fail)
    zipfile.ZipFile(tmp_path / "checkpoint_latest.pth", "w").close()  # whole, as far as anyone can see before
    with pytest.raises(RuntimeError, match="^CUDA error"):
        trainer.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
