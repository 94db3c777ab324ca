"""Plan and preprocess the data for the trainings; a data set that is planned already is used as it is."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_parts.setup import Setup

PLANS = {"nnUNetPlans": "ExperimentPlanner", "MSAMPlans": "MSAMPlanner"}
DRY_RUN_DATA = "Dataset900_TumourPhantom"


def is_planned(data: Path) -> bool:
    """Whether this is a data set's folder inside ``nnUNet_preprocessed``."""
    return all((data / f"{name}.json").is_file() for name in PLANS)


def data_folder(setup: Setup) -> Path | None:
    """The data set trained on: the one given; in a dry run phantoms."""
    if setup.data is None and setup.dry_run:
        return setup.output / "raw" / DRY_RUN_DATA
    return setup.data


def set_folders(setup: Setup) -> str:
    """Point nnU-Net, which reads these variables when it is imported, at the data; returns the data set's name."""
    data = data_folder(setup)
    planned = setup.output / "preprocessed"
    os.environ["nnUNet_raw"] = str(data.parent)
    os.environ["nnUNet_preprocessed"] = str(data.parent if is_planned(data) else planned)
    os.environ["nnUNet_results"] = str(setup.output / "results")
    os.environ["nnUNet_compile"] = "f"
    return data.name


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """A row per step."""
    dataset = set_folders(setup)
    data = data_folder(setup)
    if is_planned(data):
        yield {"step": f"{dataset} is planned and preprocessed already", "seconds": 0}
        return
    if setup.dry_run and setup.data is None:
        from msam_nn.synthetic import PhantomOptions, write_dataset

        small = PhantomOptions(min_shape=(16, 32, 32), max_shape=(20, 36, 36), empty_every=0)
        write_dataset(data, 5, 0, small, progress=False)
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    number = int(dataset[len("Dataset") :].split("_")[0])
    processes = 1 if setup.dry_run else min(8, setup.cores)
    steps = {"fingerprint": lambda: extract_fingerprints([number], num_processes=processes, show_progress_bar=False)}
    for plans, planner in PLANS.items():
        memory = {"gpu_memory_target_in_gb": 0.5, "overwrite_plans_name": plans} if setup.dry_run else {}
        steps[f"plan with {planner}"] = lambda p=planner, m=memory: plan_experiments([number], p, **m)
        steps[f"preprocess {plans}"] = lambda p=plans: preprocess(
            [number], p, ["3d_fullres"], num_processes=[processes], show_progress_bar=False
        )
    for step, function in steps.items():
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            function()
        yield {"step": step, "seconds": round(time.perf_counter() - began, 1)}
