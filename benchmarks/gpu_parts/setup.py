"""What every part is told, and how parts measure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from msam_nn.arena.engines import own_cores


@dataclass(frozen=True)
class Setup:
    """Arguments:
    device: ``cuda``, or ``cpu`` for a dry run.
    dry_run: everything small.
    seconds: the part's time limit.
    output: folder of the whole run.
    data: raw or preprocessed data set of nnU-Net's, None for none.
    variant: what the part is run for, where it is run several times.
    """

    device: torch.device
    dry_run: bool
    seconds: float
    output: Path
    data: Path | None = None
    variant: str = ""

    @property
    def patch(self) -> int:
        """Voxels per axis of the patches."""
        return 16 if self.dry_run else 128

    @property
    def rounds(self) -> int:
        """Repetitions of a timing, after two to warm up."""
        return 2 if self.dry_run else 10

    @property
    def cores(self) -> int:
        """That this process may use, sixteen at most: what a container is lent of a large machine cannot be seen."""
        return min(16, own_cores())

    def autocast(self, dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
        return torch.autocast(self.device.type, dtype)

    @staticmethod
    def without_tf32() -> None:
        """Let float32 be float32 on CUDA from now on."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def median_seconds(self, function: Callable[[], object]) -> float:
        """Median wall-clock time after two warm-ups."""
        taken = []
        for _ in range(self.rounds + 2):
            self.synchronize()
            began = time.perf_counter()
            function()
            self.synchronize()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[2:])
