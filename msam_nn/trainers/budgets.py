"""Trainers with a budget in their name, made when their name is asked for: this module has an attribute for each.

>>> from msam_nn.trainers.budgets import MSAMTrainer_20minutes, nnUNetTrainerNoMirroring_5epochs  # doctest: +SKIP
"""

from __future__ import annotations

from msam_nn.registry import TRAINERS, load
from msam_nn.trainer_names import BudgetedName, parse
from msam_nn.trainers.progress import ProgressMixin

NO_LIMIT = 1_000_000
"""Epochs of a training that a time budget ends."""

SPENT = "budget_minutes_spent"
"""Entry of nnU-Net's log: minutes of the budget that were spent by the end of each epoch, the unfinished one too."""


class _BudgetSpent(Exception):
    """Ends the epoch loop."""


class _ScheduledByBudget:
    """A learning-rate scheduler that is asked for an epoch and answers for the share of the budget that is spent."""

    def __init__(self, scheduler, trainer: MinutesMixin) -> None:
        self.scheduler, self.trainer = scheduler, trainer

    def step(self, epoch: int) -> None:
        fraction = self.trainer.told_by_the_first(self.trainer.budget_fraction)
        self.scheduler.step(fraction * self.trainer.num_epochs)


class EpochsMixin(ProgressMixin):
    """Train for :attr:`budget` epochs.

    nnU-Net sets the number in its constructor, whose signature must not change; what follows from it is first made
    here.
    """

    budget: int

    @property
    def planned_epochs(self) -> int:
        return self.budget

    def configure_optimizers(self, *args, **kwargs):
        self.num_epochs = self.planned_epochs
        return super().configure_optimizers(*args, **kwargs)


class MinutesMixin(EpochsMixin):
    """Train for :attr:`budget` minutes of wall-clock time instead of a number of epochs.

    Epochs have 25 iterations; the learning rate follows the schedule by the share of the budget that is spent. The
    clock starts with the first epoch; checkpoints and online validation count, the final validation does not. An
    unfinished epoch is trained but not validated. A training continued with ``--c`` has what its checkpoint left of the
    budget: a finished one nothing, so it is only validated again. With several GPUs the first one's clock decides for
    all.
    """

    spent_before = 0.0
    """Minutes that the sessions before this one spent, up to the checkpoint."""

    @property
    def planned_epochs(self) -> int:
        return NO_LIMIT

    @property
    def spent_now(self) -> float:
        """Of the budget, by this session."""
        return self.minutes_spent

    @property
    def spent(self) -> float:
        return self.spent_before + self.spent_now

    @property
    def budget_fraction(self) -> float:
        """Share of the budget that is spent, at most just under 1."""
        return min(self.spent / self.budget, 0.9999)

    @property
    def minutes_left(self) -> float:
        left = self.budget - self.spent
        return left * self.minutes_spent / self.spent_now if self.spent_now else float("nan")

    def configure_optimizers(self, *args, **kwargs):
        optimizer, scheduler = super().configure_optimizers(*args, **kwargs)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 25, 3
        return optimizer, _ScheduledByBudget(scheduler, self)

    def on_epoch_start(self) -> None:
        if self._is_spent():
            raise _BudgetSpent
        super().on_epoch_start()

    def on_epoch_end(self) -> None:
        self._note_spent()
        super().on_epoch_end()

    def on_train_end(self) -> None:
        self._note_spent()
        super().on_train_end()

    def _note_spent(self) -> None:
        """For this epoch, in place of what a checkpoint may already say of it."""
        self._log_of_spent()[self.current_epoch :] = [self.spent]

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        self.spent_before = max(self._log_of_spent(), default=0.0)

    def _log_of_spent(self) -> list[float]:
        """In nnU-Net's log, which its checkpoints hold; 0 for epochs of which it is not known."""
        log = self.logger.local_logger.my_fantastic_logging
        return log.setdefault(SPENT, [0.0] * (len(log["epoch_end_timestamps"])))

    def run_training(self) -> None:
        try:
            super().run_training()
        except _BudgetSpent:
            self.print_to_log_file(f"The budget of {type(self).__name__} is spent after {self.current_epoch} epochs")
            if self.current_epoch == 0 and self.local_rank == 0:  # drawn after every epoch; an export wants it
                self.logger.plot_progress_png(self.output_folder)
            self.on_train_end()

    def train_step(self, batch: dict) -> dict:
        if self._is_spent():
            raise _BudgetSpent
        return super().train_step(batch)

    def _is_spent(self) -> bool:
        return bool(self.told_by_the_first(self.spent >= self.budget))


class CPUMinutesMixin(MinutesMixin):
    """Like :class:`MinutesMixin`, with a budget of CPU time of the training process and its workers: fair on a machine
    that other work slows down."""

    @property
    def spent_now(self) -> float:
        return self.cpu_minutes_spent


MIXINS = {"epoch": EpochsMixin, "minute": MinutesMixin, "cpuminute": CPUMinutesMixin}


def __getattr__(name: str) -> type:
    """The trainer of a name of the grammar.

    Raises:
        AttributeError: if the name is none, or names no trainer.
    """
    budget = parse(name)
    if budget is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _make(budget, _base(budget.base, name))
    globals()[name] = made
    return made


def _base(base: str, name: str) -> type:
    if base in TRAINERS:
        return load(TRAINERS[base])
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        return recursive_find_trainer_class_by_name(base)
    except RuntimeError as error:
        raise AttributeError(f"There is no trainer {name}, since there is no {base}.") from error


def _make(budget: BudgetedName, base: type) -> type:
    doc = f":class:`{base.__name__}` for {budget.number} {budget.unit}{'s' if budget.number > 1 else ''}."
    members = {"budget": budget.number, "__module__": __name__, "__doc__": doc}
    return type(str(budget), (MIXINS[budget.unit], base), members)
