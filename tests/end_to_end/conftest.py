"""Stock nnU-Net commands in subprocesses, on a small phantom."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture(scope="session")
def run(nnunet_folders):
    """Run a console script of this environment; returns the finished process, its streams as text."""

    def run_command(command: str, *arguments, check: bool = True, **variables) -> subprocess.CompletedProcess:
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **variables}
        process = subprocess.run(
            [sys.executable, str(SCRIPTS / command), *map(str, arguments)],
            env=environment,
            capture_output=True,
            encoding="utf-8",
        )
        if check and process.returncode:
            pytest.fail(
                f"{command} {' '.join(map(str, arguments))} failed:\n{process.stdout[-2000:]}\n{process.stderr[-4000:]}"
            )
        return process

    return run_command


@pytest.fixture(scope="session")
def trained(run, nnunet_folders):
    """The model folder of an ``MSAMTrainer_1epoch`` trained on fold 0, with validation probabilities."""
    run(
        "nnUNetv2_train",
        900,
        "3d_fullres",
        0,
        "-tr",
        "MSAMTrainer_1epoch",
        "-p",
        "MSAMPlans",
        "-device",
        "cpu",
        "--npz",
        MSAM_NN_SEED="1",
    )
    return nnunet_folders["nnUNet_results"] / "Dataset900_TumourPhantom" / "MSAMTrainer_1epoch__MSAMPlans__3d_fullres"
