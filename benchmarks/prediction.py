"""Stock prediction, M-SAM beside nnU-Net's U-Net, on the same case, device and mirroring.

    python benchmarks/prediction.py --rounds 3

Both trainers stand on the same default nnU-Net plans with the patch size set to 128^3; the networks are untrained,
which changes nothing about their speed. Both take turns; times are medians over the rounds, a ratio is the median of
the rounds' ratios. "Command" is the wall time of ``nnUNetv2_predict`` with start-up, preprocessing and export, the
same for both; "sliding window" is nnU-Net's own, inside a running process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

DATASET, NUMBER, PLANS, CONFIGURATION = "Dataset901_SpeedPhantom", "901", "nnUNetPlans", "3d_fullres"
TRAINERS = ("MSAMTrainer", "nnUNetTrainer")


def prepare(root: Path, edge: int, patch: int) -> None:
    """A planned data set, and an untrained model of each trainer."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(root / name)
    os.environ.update(nnUNet_n_proc_DA="1", nnUNet_def_n_proc="2", nnUNet_compile="f")
    import torch

    from msam_nn.registry import TRAINERS as OURS
    from msam_nn.registry import load
    from msam_nn.synthetic import PhantomOptions, write_dataset

    shape = (edge,) * 3
    write_dataset(root / "raw" / DATASET, 2, 1, PhantomOptions(min_shape=shape, max_shape=shape), progress=False)
    _run("nnUNetv2_plan_and_preprocess", "-d", NUMBER, "-c", CONFIGURATION, "-np", "2", "-npfp", "2")
    plans_file = root / "preprocessed" / DATASET / f"{PLANS}.json"
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    plans["configurations"][CONFIGURATION]["patch_size"] = [patch] * 3
    plans_file.write_text(json.dumps(plans), encoding="utf-8")

    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    dataset_json = json.loads((root / "raw" / DATASET / "dataset.json").read_text(encoding="utf-8"))
    for name in TRAINERS:
        own_plans = {**json.loads(plans_file.read_text(encoding="utf-8")), "continue_training": False}
        trainer_class = load(OURS[name]) if name in OURS else nnUNetTrainer
        trainer = trainer_class(own_plans, CONFIGURATION, 0, dataset_json, torch.device("cpu"))
        trainer.initialize()
        trainer.inference_allowed_mirroring_axes = (0, 1, 2)
        folder = Path(trainer.output_folder)
        folder.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(str(folder / "checkpoint_final.pth"))
        (folder.parent / "plans.json").write_text(json.dumps(trainer.plans_manager.plans), encoding="utf-8")
        (folder.parent / "dataset.json").write_text(json.dumps(dataset_json), encoding="utf-8")


class SlidingWindows:
    """nnU-Net's predictor with each model, on noise of the case's size."""

    def __init__(self, root: Path, edge: int) -> None:
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        self.image = torch.randn(1, edge, edge, edge)
        self.predictors = {}
        with contextlib.redirect_stdout(io.StringIO()):
            for trainer in TRAINERS:
                predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
                model = root / "results" / DATASET / f"{trainer}__{PLANS}__{CONFIGURATION}"
                predictor.initialize_from_trained_model_folder(str(model), (0,))
                self.predictors[trainer] = predictor

    def seconds(self, trainer: str, mirroring: bool) -> float:
        predictor = self.predictors[trainer]
        predictor.use_mirroring = mirroring
        began = time.perf_counter()
        predictor.predict_sliding_window_return_logits(self.image)
        return time.perf_counter() - began


def predict(root: Path, trainer: str, mirroring: bool) -> float:
    """Seconds of one ``nnUNetv2_predict``."""
    arguments = f"-d {NUMBER} -c {CONFIGURATION} -tr {trainer} -f 0 -npp 1 -nps 1 -device cpu".split()
    folders = ["-i", root / "raw" / DATASET / "imagesTs", "-o", root / f"predicted_{trainer}"]
    began = time.perf_counter()
    _run("nnUNetv2_predict", *arguments, *folders, *([] if mirroring else ["--disable_tta"]))
    return time.perf_counter() - began


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _row(what: str, mirroring: str, n_rounds: int, seconds: Callable[[str], float]) -> str:
    rounds = [[seconds(trainer) for trainer in TRAINERS] for _ in range(n_rounds)]
    ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in rounds)
    return f"| {what} | {mirroring} | {ours:.1f} s | {theirs:.1f} s | {ratio:.1f}x |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=128, help="voxels per axis of the case")
    parser.add_argument("--patch", type=int, default=128, help="voxels per axis of the window")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| what | mirroring | MSAMTrainer | nnUNetTrainer | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, args.edge, args.patch)
        windows = SlidingWindows(root, args.edge)
        for mirroring in (True, False):
            yes_or_no = "yes" if mirroring else "no"
            print(_row("command", yes_or_no, args.rounds, partial(predict, root, mirroring=mirroring)), flush=True)
            seconds = partial(windows.seconds, mirroring=mirroring)
            for trainer in TRAINERS:
                seconds(trainer)
            print(_row("sliding window", yes_or_no, args.rounds, seconds), flush=True)
    print(f"\n{args.edge}^3 voxels, window {args.patch}^3, CPU, {date.today().isoformat()}")


if __name__ == "__main__":
    main()
