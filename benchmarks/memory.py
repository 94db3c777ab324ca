"""Peak resident memory of training steps against the planner's formula: the table of docs/planning.md, "Memory".

    python benchmarks/memory.py

Each row trains a tiny network for two clicked steps on one thread, in processes of its own: with freed blocks given
back at once, and with glibc's default heap, which keeps some. What the libraries and a first small network take is
subtracted.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from peak_memory import peak_gib
from planning import TYPICAL, plan, times

from msam_nn.preprocessing.architecture import ArchitectureDesign
from msam_nn.preprocessing.memory import training_memory_gb
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam.trainer import MSAMTrainer

GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


class Row(NamedTuple):
    """A training: voxels of patch and tokens, the batch, and whether stages are recomputed."""

    patch: tuple[int, int, int]
    tokens: tuple[int, int, int]
    classes: int
    batch: int
    recomputed: bool = False


FIRST = Row((16, 16, 16), (8, 8, 8), 1, 2)
ROWS = (
    Row((40, 56, 40), (8, 8, 8), 2, 8),
    Row((32, 64, 64), (4, 8, 8), 1, 2),
    Row((64, 96, 96), (16, 16, 16), 4, 2),
    Row((64, 96, 96), (16, 16, 16), 4, 2, recomputed=True),
)


def train(row: Row) -> float:
    """Two clicked steps; the formula's estimate in GB."""
    design = ArchitectureDesign(row.patch, row.tokens, "tiny", (16, 32, 64, 128), (), row.recomputed)
    plans = deepcopy(plan(TYPICAL[0], 0.5)) | {"continue_training": False}
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(batch_size=row.batch, patch_size=list(row.patch))
    configuration["architecture"] = design.to_plans(background=True)
    dataset_json = TYPICAL[0].dataset_json()
    dataset_json["labels"] = {"background": 0, **{f"class {i}": i for i in range(1, row.classes + 1)}}
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
        os.makedirs(trainer.preprocessed_dataset_folder, exist_ok=True)
        Path(trainer.preprocessed_dataset_folder, "case.b2nd").touch()  # nnU-Net looks how cases are stored
        trainer.initialize()
    trainer.click_recipe = ClickRecipe(p_automatic=0, p_long=0)
    shape = (row.batch, 1, *row.patch)
    target = torch.randint(0, row.classes + 1, shape).float()
    targets = [
        F.interpolate(target, scale_factor=scale).to(torch.int16) for scale in trainer._get_deep_supervision_scales()
    ]
    for _ in range(2):
        trainer.train_step({"data": torch.randn(shape), "target": targets})
    return training_memory_gb(design.config(in_channels=1, num_classes=row.classes), row.batch)


def measure(row: int, environment: dict[str, str]) -> tuple[float, float]:
    """Peak and estimate of a row in GB, from a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        folders = {name: os.path.join(root, name) for name in FOLDERS}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **folders, **environment}
        command = [sys.executable, __file__, str(row)]
        printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    peak, estimate = map(float, printed.split()[-2:])
    return peak, estimate


def main() -> None:
    if len(sys.argv) > 1:
        train(FIRST)
        libraries = peak_gib()
        estimate = train(ROWS[int(sys.argv[1])])
        print(peak_gib() - libraries, estimate)
        return
    print("| patch, tokens, classes, batch | measured | with glibc's default heap | estimate |\n|---|---|---|---|")
    for index, row in enumerate(ROWS):
        (peak, estimate), (kept, _) = (measure(index, environment) for environment in (GIVING_BACK, {}))
        name = f"{times(row.patch)}, {times(row.tokens)}, {row.classes}, {row.batch}"
        name += ", stages recomputed" if row.recomputed else ""
        print(f"| {name} | {peak:.2f} GB | {kept:.2f} GB | {estimate:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
