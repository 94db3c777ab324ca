"""What the finished jobs of a grid have left: scores, clicks, transfers, costs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from nnunetv2.paths import nnUNet_results

from msam_nn.arena.attempt import attempts
from msam_nn.arena.grid import Grid, Method, results_root
from msam_nn.arena.jobs import Job, clicks_folder, fold_folder, jobs_of, transfer_folder
from msam_nn.errors import UserError
from msam_nn.evaluation.comparison.contest import Contest, costs_of, open_contest, score_contest
from msam_nn.evaluation.scoring import ScoringOptions
from msam_nn.metrics.scores import LESION_IOU


@dataclass(frozen=True)
class Results:
    """All tables; the methods have the grid's names.

    Arguments:
        scores: columns ``dataset, method, seed, fold, case, label`` and metrics, the image-blind ellipsoid among the
            methods; seed is -1 without seeds.
        costs: a row a data set and method.
        clicks, transfers: empty where there are none.
        missing: names of jobs that are not finished.
    """

    grid: Grid
    scores: pd.DataFrame
    costs: pd.DataFrame
    clicks: pd.DataFrame
    transfers: pd.DataFrame
    missing: list[str]


def collect(grid: Grid) -> Results:
    """Score every method on every data set on which a seed of it has all folds.

    Raises:
        UserError: if there is none.
    """
    scores, costs = [], []
    device = torch.device(grid.device) if grid.measure_prediction else None
    for dataset in grid.datasets:
        for seed in grid.seeds:
            methods = [m for m in grid.methods if _is_complete(grid, m, dataset, seed)]
            if methods:
                contest = _open(grid, dataset, seed, methods)
                names = {grid.model(m): m.name for m in methods}
                table = score_contest(contest, ScoringOptions(grid.tolerance, LESION_IOU))
                table["method"] = table["method"].replace(names)
                scores.append(_labelled(table, dataset=dataset, seed=seed))
                costs += [_costs(grid, contest, m, seed, device) for m in methods]
    if not scores:
        command = f"msam arena {shlex.quote(str(grid.file))}"
        raise UserError(f"Nothing of {grid.file} is finished yet, so run it first: {command}")
    jobs = [job for job in jobs_of(grid, cores=1) if job.files]
    missing = [job.name for job in jobs if not job.is_finished()]
    there = {file for job in jobs if job.name not in missing for file in job.files}
    clicks, transfers = _clicks(grid, there), _transfers(grid, there)
    return Results(grid, pd.concat(scores, ignore_index=True), _mean_costs(costs), clicks, transfers, missing)


def _is_complete(grid: Grid, method: Method, dataset: str, seed: int | None) -> bool:
    """Whether every fold is validated."""
    folders = [fold_folder(grid, method, dataset, seed, fold) for fold in grid.folds]
    return all((folder / "validation" / "summary.json").is_file() for folder in folders)


def _open(grid: Grid, dataset: str, seed: int | None, methods: Sequence[Method]) -> Contest:
    root = results_root(os.path.abspath(nnUNet_results), seed)
    return open_contest(dataset, grid.folds, [str(root / dataset / grid.model(m)) for m in methods])


def _labelled(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """With columns of one value each in front."""
    for place, (name, value) in enumerate(values.items()):
        table.insert(place, name, -1 if value is None else value)
    return table


def _costs(grid: Grid, contest: Contest, method: Method, seed: int | None, device: torch.device | None) -> dict:
    results = next(r for r in contest.results if r.name == grid.model(method))
    row = costs_of(contest, results, device)
    jobs = [job for job in jobs_of(grid, cores=1) if job.stage == "train" and _is_of(job, results.path)]
    made = [entry for job in jobs for entry in attempts(grid.job_folder(job.name))]
    row["job CPU minutes per fold"] = sum(e["cpu_seconds"] for e in made) / 60 / len(jobs) if made else float("nan")
    row["peak GiB of training"] = max((e["peak_gib"] for e in made), default=float("nan"))
    return {**row, "dataset": contest.truth.dataset, "method": method.name}


def _is_of(job: Job, model: Path) -> bool:
    return os.path.abspath(job.files[0].parents[1]) == os.path.abspath(model)


def _mean_costs(rows: list[dict]) -> pd.DataFrame:
    """Over seeds."""
    table = pd.DataFrame(rows)
    numbers = table.columns.difference(["dataset", "method"], sort=False)
    table[numbers] = table[numbers].astype(float)
    return table.groupby(["dataset", "method"], sort=False)[list(numbers)].mean().reset_index()


def _clicks(grid: Grid, there: set[Path]) -> pd.DataFrame:
    tables = [
        _labelled(pd.read_csv(file), dataset=dataset, method=method.name, run=seed)
        for method in grid.methods for dataset in grid.datasets for seed in grid.seeds
        if (file := clicks_folder(grid, method, dataset, seed) / "clicks.csv") in there
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _transfers(grid: Grid, there: set[Path]) -> pd.DataFrame:
    tables = [
        _labelled(table.rename(columns={"method": "when"}), source=source, target=target, method=method.name, run=seed)
        for method in grid.methods for source, target in grid.transfers for seed in grid.seeds
        if (file := transfer_folder(grid, method, source, target, seed) / "scores.csv") in there
        for table in [pd.read_csv(file)]
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
