"""What a training tells while it runs, CPU time spent and time left, and when it is interrupted."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from time import monotonic

import psutil
import torch
import torch.distributed as dist

from msam_nn.errors import UserError
from msam_nn.trainers.seeding import seed_training
from msam_nn.trainers.sole_training import sole_training

RECENT_EPOCHS = 10


def cpu_seconds() -> float:
    """CPU time of this process and its worker processes so far, those that have ended included (not on Windows)."""
    this = psutil.Process()
    seconds = sum(this.cpu_times()[:4])
    for child in this.children(recursive=True):
        try:
            seconds += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:  # its time is in that of its parent now
            continue
    return seconds


class ProgressMixin:
    """Logs the CPU time of this session since its first epoch and the wall-clock time left, estimated, once an epoch.

    A training has its folder to itself, Ctrl-C ends it with one sentence, and MSAM_NN_SEED seeds it. On a CPU it keeps
    to the threads of OMP_NUM_THREADS, which ``nnUNetv2_train -device cpu`` overrides with one a core of the machine:
    trainings side by side would wait for each other's threads and take ten times as long.
    """

    wall_began: float | None = None
    cpu_began: float | None = None

    @property
    def minutes_spent(self) -> float:
        """Wall-clock minutes of this session."""
        return 0.0 if self.wall_began is None else (monotonic() - self.wall_began) / 60

    @property
    def cpu_minutes_spent(self) -> float:
        """CPU minutes of this session, of the process and its workers."""
        return 0.0 if self.cpu_began is None else (cpu_seconds() - self.cpu_began) / 60

    @property
    def minutes_left(self) -> float:
        """Estimate, by the duration of the last epochs."""
        starts, ends = (self.logger.get_value(f"epoch_{event}_timestamps", step=None) for event in ("start", "end"))
        recent = [end - start for start, end in zip(starts, ends, strict=False)][-RECENT_EPOCHS:]
        return sum(recent) / len(recent) * (self.num_epochs - self.current_epoch) / 60 if recent else float("nan")

    def run_training(self) -> None:
        folder = Path(self.output_folder)
        if self.device.type == "cpu" and (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
            torch.set_num_threads(max(1, int(threads)))
        if (seed := seed_training(self.local_rank)) is not None:
            self.print_to_log_file(f"Seed: {seed}")
        try:
            with sole_training(folder) if self.local_rank == 0 else nullcontext():
                super().run_training()
        except KeyboardInterrupt:
            kept = any((folder / f"checkpoint_{which}.pth").is_file() for which in ("latest", "best"))
            how = "continue it with --c" if kept else "there is no checkpoint yet, so start it again"
            raise UserError(f"The training in {folder} was interrupted in epoch {self.current_epoch}: {how}.") from None

    def told_by_the_first(self, value: float) -> float:
        """With several GPUs the first one's clock counts for all."""
        if not self.is_ddp:
            return value
        told = torch.tensor(value, dtype=torch.float32, device=self.device)
        dist.broadcast(told, src=0)
        return told.item()

    def on_train_epoch_start(self) -> None:
        if self.wall_began is None:
            self.wall_began, self.cpu_began = monotonic(), cpu_seconds()
        super().on_train_epoch_start()

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self.print_cpu_time(f"; about {_duration(self.minutes_left)} of wall-clock time left")

    def on_train_end(self) -> None:
        self.print_cpu_time()
        super().on_train_end()

    def print_cpu_time(self, more: str = "") -> None:
        self.print_to_log_file(f"CPU time: {self.cpu_minutes_spent:.2f} minutes in this session{more}")


def _duration(minutes: float) -> str:
    minutes = max(minutes, 0.0)
    if minutes < 2:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
