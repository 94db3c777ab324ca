"""``msam demo``: from nothing to a trained and scored model in minutes, with nnU-Net's own commands."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from msam_nn.demo.layout import FOLD, MODELS, Layout, Model, run_step, steps
from msam_nn.demo.logged_command import CommandFailed
from msam_nn.device import torch_device
from msam_nn.errors import UserError

if TYPE_CHECKING:
    import torch

N_TRAIN, N_TEST = 20, 5


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``demo`` with the ``msam`` command."""
    parser = subparsers.add_parser(
        "demo",
        help="train and score a small model on computer-generated tumours, in about ten minutes on two quiet cores",
        description="Generate tumour phantoms, run nnU-Net's own commands on them with M-SAM or MaskSAM, and score the "
        "result, automatic and, for M-SAM, after simulated clicks. All files stay in one new folder.",
    )
    parser.add_argument("--model", choices=MODELS, default="msam", help="default: %(default)s")
    parser.add_argument("--workdir", type=Path, help="a new or empty folder (default: ./msam_demo_..., newly made)")
    parser.add_argument(
        "-device", "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if available"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit code: 0, or 1 after a failed command, whose last lines are printed."""
    began = monotonic()
    device = torch_device(args.device)
    workdir = prepare_workdir(args.workdir)
    layout = Layout(workdir, MODELS[args.model])
    print(f"Everything goes into {workdir}", flush=True)
    try:
        scores = _train_and_score(layout, device)
    except CommandFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    minutes, seconds = divmod(round(monotonic() - began), 60)
    print(f"\n{scores}\n")
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


def _train_and_score(layout: Layout, device: torch.device) -> str:
    """The demo proper: writes scores and picture, returns the scores as text."""
    from dataset_conversion.Dataset900_TumourPhantom import convert
    from msam_nn.demo.results import CLICKS, Corrected, automatic_scores, case_of, draw, format_results
    from msam_nn.evaluation.clicks.protocol import evaluate_clicks
    from msam_nn.synthetic import PhantomOptions

    convert(layout.raw, N_TRAIN, N_TEST, PhantomOptions())
    for step in steps(layout, device.type):
        print(f"\n$ {step.command}", flush=True)
        run_step(step, layout)

    labels = {case_of(file): file for file in sorted(layout.truth.glob("*.nii.gz"))}
    images = {case: [layout.dataset / "imagesTs" / f"{case}_0000.nii.gz"] for case in labels}
    automatic, clicked, corrected = automatic_scores(layout), None, Corrected()
    if layout.system.takes_clicks:
        print("\nClicking where the largest error is", flush=True)
        clicked = evaluate_clicks(
            layout.model, (FOLD,), images, labels, (0, *CLICKS), device, progress=True, keep=corrected
        )
    (automatic if clicked is None else clicked).to_csv(layout.scores, index=False)
    draw(layout, images, labels, corrected)
    return format_results(automatic, clicked)
