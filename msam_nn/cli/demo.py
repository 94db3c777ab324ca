"""``msam demo``: from nothing to a trained and scored model in minutes, with nnU-Net's own commands."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from msam_nn.cli.logged_command import CommandFailed, find_command, run_logged
from msam_nn.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from msam_nn.evaluation.clicks.case import ClickCase
    from msam_nn.inference.prompted import PromptedPredictor

N_TRAIN, N_TEST = 20, 5
CONFIGURATION, FOLD = "3d_fullres", 0
CLICKS = (1, 3, 5)
SHOWN_CLICKS = 3
CT_WINDOW = (-160.0, 240.0)


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


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``demo`` with the ``msam`` command."""
    parser = subparsers.add_parser(
        "demo",
        help="train and score a small model on computer-generated tumours, in under ten minutes",
        description="Generate tumour phantoms, run nnU-Net's own commands on them with M-SAM or MaskSAM, and score the "
        "result, automatic and, for M-SAM, after simulated clicks. All files stay in one new folder.",
    )
    parser.add_argument("--model", choices=MODELS, default="msam", help="default: %(default)s")
    parser.add_argument("--workdir", type=Path, help="a new or empty folder (default: ./msam_demo_..., newly made)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if available")


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit code: 0, or 1 after a failed command, whose last lines are printed."""
    began = monotonic()
    device = resolve_device(args.device)
    workdir = prepare_workdir(args.workdir)
    layout = Layout(workdir, MODELS[args.model])
    print(f"Everything goes into {workdir}", flush=True)
    try:
        automatic, clicked = _train_and_score(layout, device)
    except CommandFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    minutes, seconds = divmod(round(monotonic() - began), 60)
    print(f"\n{format_results(automatic, clicked)}\n")
    print(f"predictions  {layout.predictions}\nscores       {layout.scores}\npicture      {layout.picture}")
    print(f"took         {minutes} min {seconds} s\n\n{next_steps(layout.system)}")
    return 0


def next_steps(system: Model) -> str:
    """What to do with one's own data."""
    clicks = "\n  msam clicks -d 137 -f 0 -o clicks" if system.takes_clicks else ""
    return f"""Next, your own data (nnU-Net's format; 137 stands for its number):

  nnUNetv2_plan_and_preprocess -d 137 -pl {system.planner} -c 3d_fullres --verify_dataset_integrity
  nnUNetv2_train 137 3d_fullres 0 -tr {system.trainer} -p {system.plans}{clicks}

Without a GPU add -gpu_memory_target 0.5 to the first and -device cpu to the others; msam check 137 looks at the data
before anything is trained."""


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


def prepare_workdir(workdir: Path | None) -> Path:
    """Make the working folder; None makes a new one in the current folder.

    Raises:
        UserError: if ``workdir`` is a file or a folder with something in it.
    """
    if workdir is None:
        return Path(tempfile.mkdtemp(prefix="msam_demo_", dir=Path.cwd()))
    if workdir.is_file() or (workdir.is_dir() and any(workdir.iterdir())):
        raise UserError(f"--workdir {workdir} is not empty: name a folder that is new or empty.")
    workdir.mkdir(parents=True, exist_ok=True)
    return workdir.resolve()


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``.

    Raises:
        UserError: if ``cuda`` was asked for and PyTorch sees none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device here; use --device cpu.")
    return device


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


def _train_and_score(layout: Layout, device: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The demo proper; returns automatic scores and, where clicks are taken, those after clicks; draws the picture."""
    import torch

    from dataset_conversion.Dataset900_TumourPhantom import convert
    from msam_nn.evaluation.clicks.protocol import evaluate_clicks
    from msam_nn.synthetic import PhantomOptions

    convert(layout.raw, N_TRAIN, N_TEST, PhantomOptions())
    for step in steps(layout, device):
        print(f"\n$ {step.command}", flush=True)
        _run_step(step, layout)

    labels = {_case(file): file for file in sorted(layout.truth.glob("*.nii.gz"))}
    images = {case: [layout.dataset / "imagesTs" / f"{case}_0000.nii.gz"] for case in labels}
    automatic, corrected = automatic_scores(layout), Corrected()
    if not layout.system.takes_clicks:
        automatic.to_csv(layout.scores, index=False)
        _draw(layout, images, labels, corrected)
        return automatic, None
    print("\nClicking where the largest error is", flush=True)
    clicked = evaluate_clicks(
        layout.model, (FOLD,), images, labels, (0, *CLICKS), torch.device(device), progress=True, keep=corrected
    )
    clicked.to_csv(layout.scores, index=False)
    _draw(layout, images, labels, corrected)
    return automatic, clicked


class Corrected:
    """Keeps segmentations ``(z, y, x)`` after :data:`SHOWN_CLICKS` clicks, and the clicks, on the images' own grids."""

    def __init__(self) -> None:
        self.segmentations: dict[str, np.ndarray] = {}
        self.clicks: dict[str, list[tuple[tuple[int, int, int], bool]]] = {}

    def __call__(self, predictor: PromptedPredictor, case: ClickCase, n_clicks: int, logits: Tensor) -> None:
        if n_clicks != SHOWN_CLICKS:
            return
        from msam_nn.inference.geometry import ImageGeometry

        geometry = ImageGeometry.from_properties(
            case.properties, predictor.plans_manager.transpose_forward, tuple(case.image.shape[1:])
        )
        self.segmentations[case.name] = case.segmentation(predictor, logits)
        self.clicks[case.name] = [(geometry.network_to_file(c.voxel), c.positive) for c in predictor.clicks]


def _run_step(step: Step, layout: Layout) -> None:
    name, *arguments = shlex.split(step.command)
    run_logged(
        [find_command(name), *arguments],
        environment=layout.environment(),
        log_file=layout.log,
        title=step.title,
        expected_seconds=step.expected_seconds,
    )


def _case(file: Path) -> str:
    return file.name.removesuffix(".nii.gz")


def automatic_scores(layout: Layout) -> pd.DataFrame:
    """nnU-Net's ``summary.json`` as a table.

    Returns:
        columns ``case, label, dice, true_voxels, predicted_voxels``.
    """
    import json

    import pandas as pd
    from nnunetv2.evaluation.evaluate_predictions import load_summary_json

    declared = json.loads((layout.dataset / "dataset.json").read_text(encoding="utf-8"))["labels"]
    name_of = {tuple(v) if isinstance(v, list) else v: name for name, v in declared.items()}
    cases = load_summary_json(str(layout.predictions / "summary.json"))["metric_per_case"]
    rows = [
        (_case(Path(case["reference_file"])), name_of[label], m["Dice"], m["n_ref"], m["n_pred"])
        for case in cases
        for label, m in case["metrics"].items()
    ]
    return pd.DataFrame(rows, columns=["case", "label", "dice", "true_voxels", "predicted_voxels"])


def _draw(layout: Layout, images: Mapping[str, list[Path]], labels: Mapping[str, Path], corrected: Corrected) -> None:
    """Outline truth, automatic prediction and what clicks made of it for the held-out cases."""
    import numpy as np
    import SimpleITK as sitk

    from msam_nn.reports.overlay import OverlayCase, save_overlay

    cases = []
    for case, label_file in labels.items():
        image = sitk.ReadImage(str(images[case][0]))
        truth, prediction = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (label_file, layout.predictions / label_file.name)
        )
        voxels, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
        shown = {"automatic": prediction}
        if case in corrected.segmentations:
            shown[f"{SHOWN_CLICKS} clicks"] = corrected.segmentations[case]
        clicks = corrected.clicks.get(case, [])
        cases.append(
            OverlayCase(
                case,
                voxels,
                truth,
                shown,
                spacing,
                clicks=np.array([voxel for voxel, _ in clicks], int).reshape(-1, 3),
                click_labels=np.array([positive for _, positive in clicks], int),
                window=CT_WINDOW,
            )
        )
    save_overlay(layout.picture, cases)


def format_results(automatic: pd.DataFrame, clicked: pd.DataFrame | None) -> str:
    """Mean Dice over the cases and labels that occur in the truth, and what was found where there is nothing.

    Arguments:
        automatic: as :func:`automatic_scores` returns it.
        clicked: columns ``case, label, clicks, dice``; None for a network without clicks.
    """
    present = automatic[automatic.true_voxels > 0]
    absent = automatic[automatic.true_voxels == 0]
    lines = [f"held-out cases: {automatic.case.nunique()}", "", "prompts     mean Dice"]
    lines.append(f"{'automatic':<10}  {present.dice.mean():.3f}")
    if clicked is not None:
        after = clicked.merge(present[["case", "label"]]).groupby("clicks").dice.mean()
        for n in CLICKS:
            text = f"{n} click" if n == 1 else f"{n} clicks"
            lines.append(f"{text:<10}  {after[n]:.3f}")
    if len(absent):
        false_alarms = int((absent.predicted_voxels > 0).sum())
        lines += ["", f"not in the mean: {len(absent)} without tumour, {false_alarms} of them with a false finding"]
    return "\n".join(lines)
