"""Small lesions: nnU-Net and M-SAM at equal CPU time on phantoms, with the package's own commands.

    python benchmarks/accuracy/small_lesions.py FOLDER --cpu-minutes 5

Makes the phantoms (lesions with a radius of 2 to 4 voxels), plans and preprocesses them once, trains each method on
fold 0 with ``OMP_NUM_THREADS=1``, one after the other, and compares:
``FOLDER/comparison_5cpuminutes/comparison.md``. What is complete already is not made again, so a new version of a
trainer is measured after removing its folder in ``FOLDER/results``; the step at which a run was interrupted starts
over. ``--dry-run`` prints the commands.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dataset_conversion.Dataset900_TumourPhantom import SMALL_LESIONS_NAME as DATASET
from msam_nn.synthetic.dataset import case_name
from msam_nn.trainer_names import BudgetedName

NUMBER = DATASET[len("Dataset") :].split("_")[0]
METHODS = {"MSAMTrainer": ("MSAMPlans", "MSAMPlanner"), "nnUNetTrainer": ("nnUNetPlans", "ExperimentPlanner")}
"""Trainer: its plans and their planner."""

N_CASES = 60
FOLDERS = ("raw", "preprocessed", "results")


def steps(root: Path, cpu_minutes: int) -> Iterator[tuple[str, Path]]:
    """Commands, and what each writes last."""
    yield (
        f"python -m dataset_conversion.Dataset900_TumourPhantom --small-lesions --cases {N_CASES} --test-cases 0",
        root / "raw" / DATASET,
    )
    models = []
    for trainer, (plans, planner) in METHODS.items():
        yield (
            f"nnUNetv2_plan_and_preprocess -d {NUMBER} -pl {planner} -c 3d_fullres -gpu_memory_target 0.5 "
            f"-overwrite_plans_name {plans} -np 1 -npfp 1",
            root / "preprocessed" / DATASET / f"{plans}_3d_fullres" / f"{case_name(N_CASES - 1)}.pkl",
        )
        models.append(f"{BudgetedName(trainer, cpu_minutes, 'cpuminute')}__{plans}__3d_fullres")
    for model in models:
        trainer, plans, _ = model.split("__")
        command = f"nnUNetv2_train {NUMBER} 3d_fullres 0 -tr {trainer} -p {plans} -device cpu"
        fold = root / "results" / DATASET / model / "fold_0"
        yield command, fold / "checkpoint_final.pth"
        yield f"{command} --val", fold / "validation" / "summary.json"
    comparison = root / f"comparison_{cpu_minutes}cpuminutes"
    yield f"msam compare -d {NUMBER} -f 0 {' '.join(models)} -o {shlex.quote(str(comparison))}", comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu-minutes", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    arguments = parser.parse_args()
    root = arguments.folder.resolve()
    variables = {f"nnUNet_{name}": str(root / name) for name in FOLDERS}
    variables |= {"nnUNet_n_proc_DA": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for command, result in steps(root, arguments.cpu_minutes):
        print(f"{'exists: ' if result.exists() else '$ '}{command}", flush=True)
        if result.exists() or arguments.dry_run:
            continue
        for name in FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
        code = subprocess.run(shlex.split(command), env={**os.environ, **variables}).returncode
        if code:
            raise SystemExit(f"error: the command ended with exit code {code}; repeat to go on from here: {command}")


if __name__ == "__main__":
    main()
