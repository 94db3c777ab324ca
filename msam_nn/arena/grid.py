"""What ``grid.yaml`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Plans:
    """Who writes plans of a name, and with which further options of ``nnUNetv2_plan_and_preprocess``."""

    planner: str = "ExperimentPlanner"
    options: tuple[str, ...] = ()
    overwrites_name: bool = False
    """Whether the planner calls its plans something else by default."""


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Arguments:
        trainer: as nnU-Net looks it up, the budget in its name.
        clicks: options of ``msam clicks``; None where it is not clicked.
        variant_of: the method whose ablation this is (Table 3).
        note: for the report.
    """

    name: str
    trainer: str
    plans: str = "nnUNetPlans"
    clicks: tuple[str, ...] | None = None
    variant_of: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """Everything that is run and compared.

    Arguments:
        folder: where the arena keeps its own files: logs, clicks, transfers, report.
        datasets: ``DatasetNNN_Name``.
        seeds: (None,) for one run that is not seeded, in ``nnUNet_results`` itself.
        transfers: pairs (source, target) whose channels and classes fit.
        environment: variables for every job.
        jobs: at once, on this machine's CPU. jobs_per_gpu: with ``device`` cuda.
        cores_per_job: None for an equal share of the machine's.
        slurm: options of submitit's SLURM executor.
    """

    file: Path
    folder: Path
    datasets: tuple[str, ...]
    methods: tuple[Method, ...]
    plans: dict[str, Plans]
    configuration: str = "3d_fullres"
    folds: tuple[int, ...] = (0,)
    seeds: tuple[int | None, ...] = (None,)
    transfers: tuple[tuple[str, str], ...] = ()
    device: str = "cuda"
    environment: dict[str, str] = field(default_factory=dict)
    jobs: int = 1
    jobs_per_gpu: int = 1
    cores_per_job: int | None = None
    slurm: dict[str, object] = field(default_factory=dict)
    tolerance: float = 1.0
    measure_prediction: bool = True

    def model(self, method: Method) -> str:
        """``TRAINER__PLANS__CONFIGURATION``."""
        return f"{method.trainer}__{method.plans}__{self.configuration}"

    def job_folder(self, name: str) -> Path:
        """A job's log and attempts."""
        return self.folder / "jobs" / name


def results_root(results: str | Path, seed: int | None) -> Path:
    """nnU-Net names no seed in its folders, so that each seed has ``nnUNet_results`` of its own: ``seed_0`` in it."""
    return Path(results) if seed is None else Path(results, f"seed_{seed}")
