"""Trainers that stop after a wall-clock budget, for comparisons at equal training time and for machines without GPU."""

from __future__ import annotations

from time import monotonic

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.trainers.baselines.sam_med3d import SAMMed3DTrainer
from msam_nn.trainers.msam.trainer import MSAMTrainer


class _BudgetSpent(Exception):
    """Ends the epoch loop."""


class _ScheduledByBudget:
    """A learning-rate scheduler that is asked for an epoch and answers for the share of the budget that is spent."""

    def __init__(self, scheduler, trainer: TimeBudgetMixin) -> None:
        self.scheduler, self.trainer = scheduler, trainer

    def step(self, epoch: int) -> None:
        self.scheduler.step(self.trainer.budget_fraction * self.trainer.num_epochs)


class TimeBudgetMixin:
    """Train for :attr:`budget_minutes` of wall-clock time instead of a number of epochs.

    Epochs have 25 iterations; the learning rate follows the schedule by the share of the budget that is spent. The
    clock starts with the first epoch; checkpoints and online validation count, the final validation does not. An
    unfinished epoch is trained but not validated. A training continued with ``--c`` starts a new budget.
    """

    budget_minutes: float

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = 25
        self.num_val_iterations_per_epoch = 3
        self.num_epochs = 100_000
        self.training_began: float | None = None

    @property
    def budget_fraction(self) -> float:
        """Share of the budget that is spent, at most just under 1."""
        if self.training_began is None:
            return 0.0
        return min((monotonic() - self.training_began) / (60 * self.budget_minutes), 0.9999)

    def run_training(self) -> None:
        try:
            super().run_training()
        except _BudgetSpent:
            self.print_to_log_file(f"{self.budget_minutes} minutes are over after {self.current_epoch} epochs")
            self.on_train_end()

    def configure_optimizers(self):
        optimizer, scheduler = super().configure_optimizers()
        return optimizer, _ScheduledByBudget(scheduler, self)

    def on_train_epoch_start(self) -> None:
        if self.training_began is None:
            self.training_began = monotonic()
        super().on_train_epoch_start()

    def train_step(self, batch: dict) -> dict:
        if monotonic() - self.training_began >= 60 * self.budget_minutes:
            raise _BudgetSpent
        return super().train_step(batch)


class MSAMTrainer_1minute(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 1


class MSAMTrainer_3minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 3


class MSAMTrainer_5minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 5


class MSAMTrainer_10minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 10


class MSAMTrainer_20minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 20


class SAMMed3DTrainer_1minute(TimeBudgetMixin, SAMMed3DTrainer):
    budget_minutes = 1


class SAMMed3DTrainer_10minutes(TimeBudgetMixin, SAMMed3DTrainer):
    budget_minutes = 10


class SAMMed3DTrainer_20minutes(TimeBudgetMixin, SAMMed3DTrainer):
    budget_minutes = 20


class nnUNetTrainer_1minute(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 1


class nnUNetTrainer_3minutes(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 3


class nnUNetTrainer_10minutes(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 10


class nnUNetTrainer_20minutes(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 20
