"""Optimizer groups and learning-rate schedules."""

from __future__ import annotations

from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

STEPS = (0.6, 0.9)
"""Fractions of the training at which the learning rate drops to a tenth (epochs 120 and 180 of the paper's 200)."""

PRACTICE_BEGINS, PRACTICE_RATE = 0.75, 4e-3
"""Share of a training after which clicks are practised, and the learning rate at which that begins."""

EMBEDDINGS = ("pos_embed", "rel_pos_", "class_embedding", "depth_embed", "depth_position", "mask_token")
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


class EpochScheduler(PolyLRScheduler):
    """nnU-Net's scheduler with another rule. Like its own it is told the epoch: a continued training needs no state."""

    def rate(self, group: dict, epoch: float) -> float:
        """The learning rate of one of the optimizer's groups."""
        raise NotImplementedError

    def step(self, current_step: float | None = None) -> None:
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group, current_step)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class StepLRScheduler(EpochScheduler):
    """The paper's schedule scaled to any number of epochs: a tenth after 60 % and again after 90 % of them."""

    def rate(self, group: dict, epoch: float) -> float:
        return self.initial_lr * 0.1 ** sum(epoch >= fraction * self.max_steps for fraction in STEPS)


class GroupPolyLRScheduler(EpochScheduler):
    """nnU-Net's schedule; a group learns ``rate`` times as fast, if it says so."""

    ends = 1.0
    """Share of the training by which the learning rates have fallen to zero."""

    def rate(self, group: dict, epoch: float) -> float:
        left = max(1 - epoch / self.max_steps / self.ends, 0.0)
        return group.get("rate", 1.0) * self.initial_lr * left**self.exponent


class PracticePolyLRScheduler(GroupPolyLRScheduler):
    """For a training whose last phase trains groups marked ``practises`` alone.

    All learning rates fall to zero by the time it begins; then those groups start anew, at :data:`PRACTICE_RATE`, and
    fall to zero by the end.
    """

    ends = PRACTICE_BEGINS

    def rate(self, group: dict, epoch: float) -> float:
        passed = epoch / self.max_steps
        if group.get("practises") and passed >= PRACTICE_BEGINS:
            return PRACTICE_RATE * ((1 - passed) / (1 - PRACTICE_BEGINS)) ** self.exponent
        return super().rate(group, epoch)
