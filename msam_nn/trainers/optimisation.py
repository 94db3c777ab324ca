"""Optimizer groups and learning-rate schedules."""

from __future__ import annotations

from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

STEPS = (0.6, 0.9)
"""Fractions of the training at which the learning rate drops to a tenth (epochs 120 and 180 of the paper's 200)."""

PRACTICE_BEGINS, PRACTICE_RATE = 0.75, 4e-3
"""Share of a training after which clicks are practised, and the learning rate at which that begins."""

EMBEDDINGS = ("pos_embed", "rel_pos_", "class_embedding", "depth_embed", "depth_position")
"""Parts of the names of embeddings and positions that are plain parameters."""


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Trained parameters in two groups: matrices and kernels decay; norms, biases, embeddings and positions do not."""
    embeddings = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decay, keep = [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim >= 2 and id(parameter) not in embeddings
        is_matrix &= not any(part in name for part in EMBEDDINGS)
        (decay if is_matrix else keep).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": keep, "weight_decay": 0.0}]


class StepLRScheduler(PolyLRScheduler):
    """The paper's schedule scaled to any number of epochs: a tenth after 60 % and again after 90 % of them.

    Like nnU-Net's scheduler it is told the epoch, so a continued training needs no state.
    """

    def step(self, current_step: float | None = None) -> None:
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        passed = sum(current_step >= fraction * self.max_steps for fraction in STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * 0.1**passed
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class PracticePolyLRScheduler(PolyLRScheduler):
    """nnU-Net's schedule for a training whose last phase trains groups marked ``practises`` alone.

    All learning rates fall to zero by the time it begins; then those groups start anew, at :data:`PRACTICE_RATE`, and
    fall to zero by the end. Like nnU-Net's it is told the epoch.
    """

    def step(self, current_step: float | None = None) -> None:
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        passed = current_step / self.max_steps
        first = max(1 - passed / PRACTICE_BEGINS, 0.0) ** self.exponent
        last = ((1 - passed) / (1 - PRACTICE_BEGINS)) ** self.exponent
        for group in self.optimizer.param_groups:
            practises = group.get("practises") and passed >= PRACTICE_BEGINS
            group["lr"] = PRACTICE_RATE * last if practises else self.initial_lr * first
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
