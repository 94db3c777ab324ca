"""nnU-Net's own commands, given wrong names, interrupted, killed, and started twice."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import SCRIPTS

pytestmark = pytest.mark.slow
TRAIN = ("900", "3d_fullres", "0", "-p", "MSAMPlans", "-device", "cpu")


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("nnUNetv2_train", ("900", "3d_fullres", "0", "-tr", "MSAMTrainer", "-p", "MyPlans"), "has no plans MyPlans"),
        ("nnUNetv2_train", ("900", "3d_fullres", "0", "-tr", "MSAMTrainer_5mintues"), "mean MSAMTrainer_5minutes?"),
        ("nnUNetv2_train", ("911", "3d_fullres", "0", "-tr", "MSAMTrainer", "-p", "MSAMPlans"), "no data set 911"),
        ("nnUNetv2_train", ("900", "3d_lowres", "0", "-tr", "MSAMTrainer", "-p", "MSAMPlans"), "no configuration"),
        ("nnUNetv2_predict", ("-d", "900", "-i", ".", "-o", "out", "-c", "3d_fullres", "-tr", "MSAMTrainer_9epochs",
                              "-p", "MSAMPlans", "-f", "0"), "There is no model"),
    ],
    ids=["plans", "trainer", "data set", "configuration", "model"],
)  # fmt: skip
def test_wrong_names_get_a_sentence(run, tmp_path, monkeypatch, command, arguments, words):
    monkeypatch.chdir(tmp_path)
    process = run(command, *arguments, "-device", "cpu", check=False)
    assert process.returncode != 0
    assert words in process.stderr and "Traceback" not in process.stderr, process.stderr[-2000:]
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]  # nnU-Net makes the folder before it asks anybody


@pytest.fixture
def training(nnunet_folders, tmp_path):
    """Starts a long training with results in a folder of its own; returns the process once it trains."""
    started = []

    def start(*more, wait=True):
        environment = {**os.environ, "nnUNet_results": str(tmp_path), "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, str(SCRIPTS / "nnUNetv2_train"), *TRAIN, "-tr", "MSAMTrainer_30minutes", *more]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        started.append(process)
        while wait and "Epoch " not in "".join(f.read_text(encoding="utf-8") for f in tmp_path.rglob("*_log_*.txt")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.2)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def unfinished(folder):
    return [f.name for f in folder.rglob("*") if f.name.endswith(".partial") or f.name == "training_in_progress.json"]


def test_ctrl_c_ends_a_training_with_a_sentence(training, tmp_path):
    process = training()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0 and "was interrupted in epoch" in error
    assert "Traceback" not in error and not unfinished(tmp_path)


def test_two_trainings_in_a_folder_and_one_after_a_kill(training, tmp_path):
    first = training()
    second = training(wait=False)
    _, error = second.communicate(timeout=120)
    assert second.returncode != 0 and f"Process {first.pid} is training in" in error and "Traceback" not in error
    first.kill()
    first.communicate()
    for log in tmp_path.rglob("*_log_*.txt"):
        log.unlink()
    assert training("--c").poll() is None
