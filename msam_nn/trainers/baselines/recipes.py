"""How the networks to compare with are trained: each paper's optimizer, learning rate and schedule, with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn


class WarmupCosineScheduler(PolyLRScheduler):
    """Linear from a tenth of the initial rate to all of it over the first :attr:`warmup` of the training, then half a
    cosine to 0.

    Like nnU-Net's scheduler it is told the epoch, so a continued training needs no state.
    """

    warmup = 0.02
    """As a fraction of the training."""

    def step(self, current_step: float | None = None) -> None:
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        done, warm = current_step / self.max_steps, self.warmup
        if done < warm:
            rate = max(done, 0.1 * warm) / warm
        else:
            rate = 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


@dataclass(frozen=True)
class Recipe:
    """Optimizer and schedule of a baseline.

    Arguments:
        optimizer: ``AdamW``, or ``SGD`` with nnU-Net's Nesterov momentum of 0.99.
        source: where the numbers are from.
        note: what of the original differs here.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: type[PolyLRScheduler]
    source: str
    note: str = ""

    def make(self, network: nn.Module, epochs: int) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Optimizer of the parameters that train, and its scheduler for a number of epochs."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "SGD":
            optimizer = torch.optim.SGD(parameters, **settings, momentum=0.99, nesterov=True)
        else:
            optimizer = torch.optim.AdamW(parameters, **settings)
        return optimizer, self.schedule(optimizer, self.learning_rate, epochs)


class _LongWarmup(WarmupCosineScheduler):
    warmup = 50 / 800


class _MiddleWarmup(WarmupCosineScheduler):
    warmup = 10 / 125


class _ShortWarmup(WarmupCosineScheduler):
    warmup = 50 / 5000


UNETR = Recipe(
    "AdamW", 1e-4, 1e-5, _ShortWarmup,
    "rate and optimizer: arXiv 2103.10504, section 4.2; schedule and weight decay: its published training script",
)  # fmt: skip
SWIN_UNETR = Recipe(
    "AdamW", 8e-4, 1e-5, _LongWarmup,
    "rate and schedule: arXiv 2201.01266, section 3.2; warm-up epochs and weight decay: its published training script",
)  # fmt: skip
NNFORMER = Recipe(
    "SGD", 1e-2, 3e-5, PolyLRScheduler,
    "arXiv 2109.03201, section 4.2 (nnU-Net's own, with deep supervision)",
    "nnU-Net gives the lowest of the three outputs no weight",
)  # fmt: skip
TRANSUNET = Recipe(
    "AdamW", 3e-4, 3e-5, _MiddleWarmup,
    "arXiv 2310.07781, its published configuration for BraTS, encoder only; weight decay is nnU-Net's",
    "starts from random weights, where the paper starts the Transformer from ImageNet's",
)  # fmt: skip
SAM3D = Recipe(
    "SGD", 1e-2, 3e-5, PolyLRScheduler,
    "its published trainer for Synapse (nnU-Net's own, with deep supervision of three outputs)",
    "nnU-Net gives the lowest of the three outputs no weight",
)  # fmt: skip
MED_SA = Recipe(
    "AdamW", 1e-4, 0.0, PolyLRScheduler,
    "rate and optimizer (Adam): the defaults of its published training script; schedule: nnU-Net's",
    "no clicks, so without the adapters that clicks steer",
)  # fmt: skip
