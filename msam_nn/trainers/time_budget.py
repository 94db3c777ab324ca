"""Trainers that stop after a wall-clock budget, for comparisons at equal training time and for machines without GPU."""

from __future__ import annotations

from time import monotonic

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.trainers.msam_trainer import MSAMTrainer


class _BudgetSpent(Exception):
    """Ends the epoch loop."""


class TimeBudgetMixin:
    """Train for :attr:`budget_minutes` of wall-clock time instead of a number of epochs.

    Epochs have :attr:`num_iterations_per_epoch` = 25 iterations; the learning rate follows the schedule by the share of
    the budget that is spent. The clock starts with the first epoch; checkpoints and online validation count, the final
    validation does not. A training continued with ``--c`` starts a new budget.
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

    def on_train_epoch_start(self) -> None:
        if self.training_began is None:
            self.training_began = monotonic()
        super().on_train_epoch_start()
        self.lr_scheduler.step(self.budget_fraction * self.num_epochs)
        self.logger.log("lrs", self.optimizer.param_groups[0]["lr"], self.current_epoch)

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        if monotonic() - self.training_began >= 60 * self.budget_minutes:
            raise _BudgetSpent


class MSAMTrainer_1minute(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 1


class MSAMTrainer_3minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 3


class MSAMTrainer_10minutes(TimeBudgetMixin, MSAMTrainer):
    budget_minutes = 10


class nnUNetTrainer_1minute(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 1


class nnUNetTrainer_3minutes(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 3


class nnUNetTrainer_10minutes(TimeBudgetMixin, nnUNetTrainer):
    budget_minutes = 10
