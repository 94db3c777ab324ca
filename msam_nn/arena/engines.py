"""Who runs the jobs: submitit's processes on this machine, submitit on SLURM, or Ray."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from msam_nn.arena.attempt import attempt, running
from msam_nn.arena.grid import Grid
from msam_nn.arena.jobs import Job
from msam_nn.errors import UserError
from msam_nn.folders import new_file

NO_LIMIT_MINUTES = 60 * 24 * 365
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
A_DAY = 24 * 60
SLURM_CORES = 8
SLURM_ACTIVE = {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "RESIZING"}


def own_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES or nvidia-smi names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in map(str.strip, visible.split(",")) if name and name != "-1"]
    return [str(number) for number in range(torch.cuda.device_count())]


def cores_of_a_job(grid: Grid, on: str) -> int:
    """What the grid says; otherwise an equal share of this machine's cores, on SLURM eight."""
    if grid.cores_per_job:
        return grid.cores_per_job
    if on == "slurm":
        return SLURM_CORES
    at_once = grid.jobs if grid.device == "cpu" else max(1, len(own_gpus())) * grid.jobs_per_gpu
    return max(1, own_cores() // at_once)


def job_environment(grid: Grid, cores: int) -> dict[str, str]:
    """Variables of every job: nnU-Net's folders, the threads and processes that a job's cores allow, the grid's own."""
    folders = {
        name: os.path.abspath(os.environ[name]) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
    threads = {
        "OMP_NUM_THREADS": str(cores),
        "OMP_WAIT_POLICY": "PASSIVE",
        "nnUNet_def_n_proc": str(cores),
        "nnUNet_n_proc_DA": str(cores - 1),
    }
    return {**folders, **threads, **grid.environment}


class Engine(Protocol):
    """Submits jobs and says when they have ended.

    queues: whether it takes jobs that wait for others itself.
    """

    queues: bool

    def has_room(self) -> bool:
        """Whether a job that is ready can be submitted now."""

    def submit(self, job: Job, folder: Path, after: Iterable[str]) -> None:
        """Start the job, its files in ``folder``, once the jobs of the names ``after`` have ended."""

    def adopt(self, job: Job, folder: Path) -> bool:
        """Take over a job that an earlier session submitted, if it is still queued or running."""

    def ended(self) -> set[str]:
        """Names of submitted jobs that have ended since the last call."""

    def interrupt(self) -> str:
        """The session ends early; returns a sentence on what becomes of the jobs."""


class Local:
    """Processes on this machine: as many at once as the grid says, with a GPU one a GPU."""

    queues = False

    def __init__(self, grid: Grid, environment: dict[str, str]) -> None:
        self.grid, self.environment = grid, environment
        self.slots = list(range(grid.jobs))
        if grid.device == "cuda":
            self.slots = [gpu for gpu in own_gpus() for _ in range(grid.jobs_per_gpu)]
            if not self.slots:
                raise UserError(f"PyTorch sees no CUDA GPU here: write device: cpu in {grid.file}.")
        self.submitted: dict[str, tuple] = {}

    def has_room(self) -> bool:
        return bool(self.slots)

    def submit(self, job: Job, folder: Path, after: Iterable[str]) -> None:
        slot = self.slots.pop(0)
        executor = _submitit().LocalExecutor(self.grid.folder / "submitit")
        executor.update_parameters(timeout_min=NO_LIMIT_MINUTES)
        gpu = {"CUDA_VISIBLE_DEVICES": slot} if self.grid.device == "cuda" else {}  # submitit's own takes numbers only
        with _deaf_to_interrupts():
            handle = executor.submit(attempt, job, folder, {**gpu, **self.environment})
        self.submitted[job.name] = (handle, slot, folder)

    def adopt(self, job: Job, folder: Path) -> bool:
        if mark := running(folder):
            raise UserError(
                f"{job.name} still runs as process {mark['pid']} of {mark['host']}: wait for it or stop it (if that "
                f"process is something else, delete {folder / 'running.json'})."
            )
        return False

    def ended(self) -> set[str]:
        names = {name for name, (handle, _, _) in self.submitted.items() if handle.done()}
        for name in names:
            self.slots.insert(0, self.submitted.pop(name)[1])
        return names

    def interrupt(self) -> str:
        told: set[int] = set()
        while any(not handle.done() for handle, _, _ in self.submitted.values()):
            for _, _, folder in self.submitted.values():
                if (mark := running(folder)) and mark["pid"] not in told:
                    told.add(mark["pid"])
                    with suppress(ProcessLookupError):
                        os.kill(mark["pid"], signal.SIGINT)
            time.sleep(0.2)
        return "The jobs that ran were stopped"


class Slurm:
    """SLURM's queue; it knows the dependencies, so that the jobs go on when this session ends."""

    queues = True

    def __init__(self, grid: Grid, environment: dict[str, str], cores: int) -> None:
        self.grid, self.environment = grid, environment
        try:
            self.executor = _submitit().SlurmExecutor(grid.folder / "submitit")
            self.executor.update_parameters(**{"time": A_DAY, "cpus_per_task": cores, **grid.slurm})
        except (RuntimeError, ValueError) as error:
            raise UserError(f"SLURM cannot be used: {' '.join(str(error).split())}") from error
        self.submitted: dict[str, tuple[str, Path]] = {}

    def has_room(self) -> bool:
        return True

    def submit(self, job: Job, folder: Path, after: Iterable[str]) -> None:
        ids = [self.submitted[name][0] for name in after]
        kind = "afterany" if job.whatever_comes else "afterok"
        more = self.grid.slurm.get("additional_parameters", {})
        gpus = self.grid.slurm.get("gpus_per_node", 1) if self.grid.device == "cuda" and job.on_device else None
        self.executor.update_parameters(
            job_name=job.name,
            gpus_per_node=gpus,
            dependency=f"{kind}:{':'.join(ids)}" if ids else None,
            additional_parameters={**more, "kill-on-invalid-dep": "yes"} if ids else more,
        )
        handle = self.executor.submit(strict_attempt, job, folder, self.environment)
        note = {"id": handle.job_id, "result": str(handle.paths.result_pickle)}
        with new_file(folder / "slurm.json") as partial:
            partial.write_text(json.dumps(note), encoding="utf-8")
        self.submitted[job.name] = (handle.job_id, handle.paths.result_pickle)

    def adopt(self, job: Job, folder: Path) -> bool:
        file = folder / "slurm.json"
        if not file.is_file():
            return False
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            number, result = note["id"], Path(note["result"])
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{file} is damaged, so that nobody knows whether {job.name} still runs: look for it with squeue --me, "
                f"cancel it with scancel if it does, and delete that file."
            ) from error
        try:
            active = _slurm_active()
        except subprocess.CalledProcessError as error:  # to submit the job again could be to run it twice
            raise UserError(f"squeue does not tell whether {job.name} still runs: try again later.") from error
        if result.is_file() or number not in active:
            return False
        self.submitted[job.name] = (number, result)
        return True

    def ended(self) -> set[str]:
        try:
            active = _slurm_active() if self.submitted else set()
        except subprocess.CalledProcessError:  # a controller that is busy answers next time
            return set()
        names = {
            name for name, (number, result) in self.submitted.items()
            if number not in active or result.is_file()
        }  # fmt: skip
        for name in names:
            del self.submitted[name]
        return names

    def interrupt(self) -> str:
        return "SLURM goes on with the jobs that were submitted; msam arena status tells"


class Ray:
    """A local Ray, or the cluster that RAY_ADDRESS names."""

    queues = False

    def __init__(self, grid: Grid, environment: dict[str, str], cores: int) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise UserError('--on ray needs Ray: pip install "msam_nn[ray]".') from error
        self.ray, self.environment = ray, environment
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        self.gpus = 1 / grid.jobs_per_gpu if grid.device == "cuda" else 0
        if grid.device == "cuda" and not ray.cluster_resources().get("GPU"):
            raise UserError(f"Ray sees no GPU: write device: cpu in {grid.file}.")
        self.remote = ray.remote(num_cpus=cores, max_retries=0)(attempt)
        self.submitted: dict[str, object] = {}

    def has_room(self) -> bool:
        return True

    def submit(self, job: Job, folder: Path, after: Iterable[str]) -> None:
        remote = self.remote.options(num_gpus=self.gpus if job.on_device else 0)
        self.submitted[job.name] = remote.remote(job, folder, self.environment)

    adopt = Local.adopt

    def ended(self) -> set[str]:
        if not self.submitted:
            return set()
        ready, _ = self.ray.wait(list(self.submitted.values()), num_returns=len(self.submitted), timeout=0)
        names = {name for name, reference in self.submitted.items() if reference in ready}
        for name in names:
            del self.submitted[name]
        return names

    def interrupt(self) -> str:
        for reference in self.submitted.values():
            self.ray.cancel(reference)
        self.ray.wait(list(self.submitted.values()), num_returns=len(self.submitted), timeout=60)
        return "The jobs that ran were stopped"


def strict_attempt(job: Job, folder: Path, environment: dict[str, str]) -> int:
    """As :func:`attempt`; raises where the command failed, which is how SLURM's dependencies learn of it."""
    if status := attempt(job, folder, environment):
        raise RuntimeError(f"{job.name} ended with status {status}")
    return 0


def make_engine(on: str, grid: Grid, cores: int) -> Engine:
    """Raises:
    UserError: if what it needs is not there.
    """
    environment = job_environment(grid, cores)
    if on == "local":
        return Local(grid, environment)
    return (Slurm if on == "slurm" else Ray)(grid, environment, cores)


def _submitit():
    import submitit

    return submitit


def _slurm_active() -> set[str]:
    """Numbers of this user's jobs that SLURM has not finished with."""
    command = ["squeue", "--me", "--noheader", "--format=%i %T"]
    lines = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()
    return {number for number, state in map(str.split, lines) if state in SLURM_ACTIVE}


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What starts in here does not hear the terminal's Ctrl-C: this session interrupts the commands, once each."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
