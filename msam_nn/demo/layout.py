"""What the demo keeps where, and nnU-Net's commands that it runs."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from msam_nn.demo.logged_command import find_command, run_logged

CONFIGURATION, FOLD = "3d_fullres", 0


class Model(NamedTuple):
    """Names of a system's classes, and whether its network takes clicks."""

    trainer: str
    planner: str
    plans: str
    takes_clicks: bool


MODELS = {
    "msam": Model("MSAMTrainer", "MSAMPlanner", "MSAMPlans", True),
    "masksam": Model("MaskSAMTrainer", "MaskSAMPlanner", "MaskSAMPlans", False),
}


class Layout:
    """Where the demo keeps what, inside ``workdir``."""

    def __init__(self, workdir: Path, system: Model) -> None:
        from dataset_conversion.Dataset900_TumourPhantom import DATASET_NAME

        self.system = system
        self.trainer = f"{system.trainer}_1epoch"
        self.raw = workdir / "nnUNet_raw"
        self.preprocessed = workdir / "nnUNet_preprocessed"
        self.results = workdir / "nnUNet_results"
        self.dataset = self.raw / DATASET_NAME
        self.truth = self.dataset / "labelsTs"
        self.model = self.results / DATASET_NAME / f"{self.trainer}__{system.plans}__{CONFIGURATION}"
        self.predictions = workdir / "predictions"
        self.picture = workdir / "overlay.png"
        self.scores = workdir / "scores.csv"
        self.log = workdir / "demo.log"

    def environment(self) -> dict[str, str]:
        """This process's environment with nnU-Net's folders inside ``workdir`` and few worker processes."""
        ours = {
            "nnUNet_raw": self.raw,
            "nnUNet_preprocessed": self.preprocessed,
            "nnUNet_results": self.results,
            "nnUNet_n_proc_DA": 1,
            "nnUNet_def_n_proc": 2,
            "nnUNet_compile": "f",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait take the cores from augmentation
        }
        return {**os.environ, **{name: str(value) for name, value in ours.items()}}


class Step(NamedTuple):
    """One of nnU-Net's commands, and about how many seconds it takes on two CPU cores."""

    title: str
    command: str
    expected_seconds: float


def steps(layout: Layout, device: str) -> list[Step]:
    """nnU-Net's commands in order: plan and preprocess, train, predict the held-out cases, evaluate."""
    images, truth, model = (shlex.quote(str(p)) for p in (layout.dataset / "imagesTs", layout.truth, layout.model))
    predictions = shlex.quote(str(layout.predictions))
    names = f"-tr {layout.trainer} -p {layout.system.plans}"
    return [
        Step(
            "plan and preprocess",
            f"nnUNetv2_plan_and_preprocess -d 900 -pl {layout.system.planner} -gpu_memory_target 0.5 "
            f"-c {CONFIGURATION} --verify_dataset_integrity -np 2 -npfp 2",
            30,
        ),
        Step("train", f"nnUNetv2_train 900 {CONFIGURATION} {FOLD} {names} -device {device}", 210),
        Step(
            "predict",
            f"nnUNetv2_predict -d 900 -i {images} -o {predictions} -c {CONFIGURATION} {names} -f {FOLD} "
            f"--disable_tta -npp 1 -nps 1 -device {device}",
            40,
        ),
        Step(
            "evaluate",
            f"nnUNetv2_evaluate_folder {truth} {predictions} "
            f"-djfile {model}/dataset.json -pfile {model}/plans.json -np 2",
            10,
        ),
    ]


def run_step(step: Step, layout: Layout) -> None:
    """Run one of the commands, with its output in the demo's log."""
    name, *arguments = shlex.split(step.command)
    run_logged(
        [find_command(name), *arguments],
        environment=layout.environment(),
        log_file=layout.log,
        title=step.title,
        expected_seconds=step.expected_seconds,
    )
