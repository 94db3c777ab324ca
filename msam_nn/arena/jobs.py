"""A grid as jobs: nnU-Net's and msam's own commands, what each waits for, and by which files it is finished."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results

from msam_nn.arena.attempt import attempts
from msam_nn.arena.grid import Grid, Method, results_root
from msam_nn.errors import UserError
from msam_nn.trainers.seeding import SEED_VARIABLE

PREPARATION = ("fingerprint", "plan")
STAGES = (*PREPARATION, "train", "clicks", "transfer", "report")


@dataclass(frozen=True)
class Job:
    """One command.

    Arguments:
        after: names of the jobs it waits for.
        files: it is finished when all of these are there; never, without any.
        environment: variables beyond those of the whole grid.
        whatever_comes: start when the jobs before have ended, though they failed.
    """

    name: str
    stage: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    whatever_comes: bool = False

    @property
    def on_device(self) -> bool:
        """Whether it computes on the grid's device."""
        return self.stage not in PREPARATION

    def is_finished(self) -> bool:
        return bool(self.files) and all(file.is_file() for file in self.files)

    def prepare(self) -> None:
        """What nnU-Net expects to be there before the command runs."""

    def command_now(self) -> tuple[str, ...]:
        """The command that does what is still to be done."""
        return self.command

    def shell_line(self) -> str:
        """To run it by hand."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.command_now())])


@dataclass(frozen=True)
class RecordedJob(Job):
    """Done again once the grid has other options than the last attempt that succeeded.

    Arguments:
        record: folder of its attempts; without any, what is there counts.
    """

    record: Path = Path()

    def is_finished(self) -> bool:
        return super().is_finished() and not self.has_other_options()

    def has_other_options(self) -> bool:
        made = [entry["command"] for entry in attempts(self.record) if entry["status"] == 0]
        return bool(made) and _options(made[-1]) != _options(self.command)


def _options(command: Sequence[str]) -> list[str]:
    """A command without what says where it runs, in how many processes, and where it writes."""
    elsewhere = {"-device", "-o", "-np", "-npfp"}
    return [word for before, word in zip(("", *command), command, strict=False) if not {before, word} & elsewhere]


@dataclass(frozen=True)
class PlanJob(RecordedJob):
    """Plans and preprocessed cases, all of them."""

    configuration: str = ""

    def is_finished(self) -> bool:
        return super().is_finished() and self._is_complete()

    def _is_complete(self) -> bool:
        """Whether every case is preprocessed; not if a file that tells is damaged."""
        plans_file = self.files[0]
        try:
            configurations = json.loads(plans_file.read_text(encoding="utf-8"))["configurations"]
            identifier = _inherited(configurations, self.configuration, "data_identifier")
            dataset = json.loads(plans_file.with_name("dataset.json").read_text(encoding="utf-8"))
            return len(list(plans_file.with_name(identifier).glob("*.pkl"))) >= dataset["numTraining"]
        except (OSError, ValueError, KeyError, TypeError):
            return False


@dataclass(frozen=True)
class TrainJob(Job):
    """A fold; a training that was killed goes on, one that ended is only validated."""

    dataset: str = ""

    @property
    def fold_folder(self) -> Path:
        return self.files[0].parent

    def prepare(self) -> None:
        """The folder of a seed's results, and the splits, which trainings that start together would write at once."""
        from msam_nn.nnunet_folders import write_splits  # an attempt at another job starts quicker without

        Path(self.environment.get("nnUNet_results", nnUNet_results)).mkdir(parents=True, exist_ok=True)
        write_splits(self.dataset)

    def has_begun(self) -> bool:
        return any(self.fold_folder.glob("checkpoint_*.pth"))

    def command_now(self) -> tuple[str, ...]:
        if (self.fold_folder / "checkpoint_final.pth").is_file():
            return (*self.command, "--val")
        return (*self.command, "--c") if self.has_begun() else self.command


@dataclass(frozen=True)
class MeasureJob(RecordedJob):
    """Measures trained models. Cases that failed are measured again with all others, and so is everything once a model
    is trained again.

    Arguments:
        models: the checkpoints that it measures.
    """

    models: tuple[Path, ...] = ()

    def is_finished(self) -> bool:
        if not super().is_finished() or self.files[0].with_name("failed.csv").is_file():
            return False
        measured = self.files[0].stat().st_mtime
        return all(model.is_file() and model.stat().st_mtime <= measured for model in self.models)


def _number(dataset: str) -> str:
    """The ID in ``DatasetNNN_Name``."""
    return str(int(dataset[7:10]))


def _inherited(configurations: dict, name: str, key: str) -> str:
    while key not in configurations[name]:
        name = configurations[name]["inherits_from"]
    return configurations[name][key]


def jobs_of(grid: Grid, cores: int) -> list[Job]:
    """All jobs, each after those it waits for, in the order of the file: the first method on all data sets first.

    Arguments:
        cores: of a job.
    """
    results = str(nnUNet_results)
    jobs: dict[str, Job] = {}

    def add(job: Job) -> str:
        jobs.setdefault(job.name, job)
        return job.name

    for method, dataset in product(grid.methods, grid.datasets):
        planned = add(_plan(grid, method, dataset, cores, add(_fingerprint(dataset, cores))))
        for seed in grid.seeds:
            trained = tuple(add(_train(grid, method, dataset, seed, f, results, planned)) for f in grid.folds)
            if method.clicks is not None:
                add(_clicks(grid, method, dataset, seed, results, trained))
    for method, (source, target), seed in product(grid.methods, grid.transfers, grid.seeds):
        trained = tuple(_train_name(grid, method, d, seed, f) for d in (source, target) for f in grid.folds)
        add(_transfer(grid, method, source, target, seed, results, trained))
    scored = tuple(job.name for job in jobs.values() if job.stage in ("train", "clicks", "transfer"))
    report = ("msam", "arena", "report", str(grid.file), "-o", str(grid.folder / "report"), "--force")
    add(Job("report", "report", report, scored, whatever_comes=True))
    return list(jobs.values())


def still_needed(jobs: Iterable[Job]) -> set[str]:
    """Names of the jobs that are not finished; what only prepares finished ones is not needed."""
    needed: set[str] = set()
    for job in reversed(list(jobs)):
        waited_for = any(job.name in other.after for other in jobs if other.name in needed)
        if not job.is_finished() and (waited_for or job.stage not in PREPARATION):
            needed.add(job.name)
    return needed


def insist_on_plans_of_trainings(jobs: Sequence[Job]) -> None:
    """Raises UserError where the grid has other options for plans that a training has begun with."""
    changed = {job.name: job for job in jobs if isinstance(job, PlanJob) and job.has_other_options()}
    for job in jobs:
        plan = next((changed[name] for name in job.after if name in changed), None)
        if plan is not None and isinstance(job, TrainJob) and job.has_begun():
            raise UserError(
                f"The grid has other options for {plan.files[0].stem} than {job.name} has begun with: give plans with "
                f"these options another name, or delete the trainings with the old ones."
            )


def clicks_folder(grid: Grid, method: Method, dataset: str, seed: int | None) -> Path:
    return grid.folder / "clicks" / dataset / (grid.model(method) + _seeded(seed))


def transfer_folder(grid: Grid, method: Method, source: str, target: str, seed: int | None) -> Path:
    return grid.folder / "transfer" / f"{source}_to_{target}" / (grid.model(method) + _seeded(seed))


def fold_folder(grid: Grid, method: Method, dataset: str, seed: int | None, fold: int) -> Path:
    return results_root(str(nnUNet_results), seed) / dataset / grid.model(method) / f"fold_{fold}"


def _seeded(seed: int | None) -> str:
    return "" if seed is None else f".seed_{seed}"


def _fingerprint(dataset: str, cores: int) -> Job:
    number = _number(dataset)
    command = ("nnUNetv2_extract_fingerprint", "-d", number, "--verify_dataset_integrity", "-np", str(cores))
    file = Path(nnUNet_preprocessed, dataset, "dataset_fingerprint.json")
    return Job(f"fingerprint.{dataset}", "fingerprint", command, files=(file,))


def _plan(grid: Grid, method: Method, dataset: str, cores: int, fingerprint: str) -> PlanJob:
    plans = grid.plans[method.plans]
    number = _number(dataset)
    command = ["nnUNetv2_plan_and_preprocess", "-d", number, "-pl", plans.planner, "-c", grid.configuration]
    command += ["-npfp", str(cores), "-np", str(cores), *plans.options]
    command += ["-overwrite_plans_name", method.plans] if plans.overwrites_name else []
    files = (Path(nnUNet_preprocessed, dataset, f"{method.plans}.json"),)
    name = f"plan.{dataset}.{method.plans}"
    return PlanJob(
        name,
        "plan",
        tuple(command),
        (fingerprint,),
        files,
        # nnU-Net's planner takes the number of augmentation workers as its number of threads: with 0 it fails.
        {"nnUNet_n_proc_DA": "1"},
        record=grid.job_folder(name),
        configuration=grid.configuration,
    )


def _run_environment(results: str, seed: int | None) -> dict[str, str]:
    if seed is None:
        return {}
    return {"nnUNet_results": str(results_root(results, seed)), SEED_VARIABLE: str(seed)}


def _train_name(grid: Grid, method: Method, dataset: str, seed: int | None, fold: int) -> str:
    return f"train.{dataset}.{grid.model(method)}.fold_{fold}{_seeded(seed)}"


def _train(
    grid: Grid, method: Method, dataset: str, seed: int | None, fold: int, results: str, planned: str
) -> TrainJob:
    command = ["nnUNetv2_train", dataset, grid.configuration, str(fold), "-tr", method.trainer, "-p", method.plans]
    folder = fold_folder(grid, method, dataset, seed, fold)
    return TrainJob(
        _train_name(grid, method, dataset, seed, fold),
        "train",
        (*command, "-device", grid.device),
        (planned,),
        (folder / "checkpoint_final.pth", folder / "validation" / "summary.json"),
        _run_environment(results, seed),
        dataset=dataset,
    )


def _checkpoints(grid: Grid, method: Method, dataset: str, seed: int | None) -> tuple[Path, ...]:
    return tuple(fold_folder(grid, method, dataset, seed, fold) / "checkpoint_final.pth" for fold in grid.folds)


def _model_options(grid: Grid, method: Method) -> list[str]:
    options = ["-tr", method.trainer, "-p", method.plans, "-c", grid.configuration]
    return [*options, "-f", *map(str, grid.folds), "-device", grid.device]


def _clicks(grid: Grid, method: Method, dataset: str, seed: int | None, results: str, trained: tuple[str, ...]) -> Job:
    folder = clicks_folder(grid, method, dataset, seed)
    command = ["msam", "clicks", "-d", dataset, *_model_options(grid, method), "--tolerance", f"{grid.tolerance:g}"]
    command += [*method.clicks, "-o", str(folder), "--force"]
    name = f"clicks.{dataset}.{grid.model(method)}{_seeded(seed)}"
    return MeasureJob(
        name,
        "clicks",
        tuple(command),
        trained,
        (folder / "clicks.csv",),
        _run_environment(results, seed),
        record=grid.job_folder(name),
        models=_checkpoints(grid, method, dataset, seed),
    )


def _transfer(
    grid: Grid, method: Method, source: str, target: str, seed: int | None, results: str, trained: tuple[str, ...]
) -> Job:
    folder = transfer_folder(grid, method, source, target, seed)
    command = ["msam", "transfer", "--source", source, "--target", target, *_model_options(grid, method)]
    command += ["--tolerance", f"{grid.tolerance:g}"]
    name = f"transfer.{source}.{target}.{grid.model(method)}{_seeded(seed)}"
    return MeasureJob(
        name,
        "transfer",
        (*command, "-o", str(folder), "--force"),
        trained,
        (folder / "scores.csv",),
        _run_environment(results, seed),
        record=grid.job_folder(name),
        models=tuple(file for dataset in (source, target) for file in _checkpoints(grid, method, dataset, seed)),
    )
