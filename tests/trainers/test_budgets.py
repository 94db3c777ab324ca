import numpy as np
import pytest
import torch

from msam_nn.registry import TRAINERS, load
from msam_nn.trainers import budgets
from msam_nn.trainers.budgets import MSAMTrainer_1minute
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move; it stands where it is put."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(budgets, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def trainer(phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans, dataset_json = phantom_plans
    trainer = MSAMTrainer_1minute(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
    trainer.initialize()
    return trainer


def test_learning_rate_follows_the_time_spent(trainer, clock):
    rates = []
    for seconds in (0, 30, 40, 55, 200):
        clock.now = 100 + seconds
        trainer.on_train_epoch_start()
        trainer.current_epoch += 1
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([8e-4, 8e-4, 8e-5, 8e-6, 8e-6])


def test_training_ends_with_the_step_that_spends_the_budget(trainer, clock, monkeypatch):
    ended, steps = [], []
    monkeypatch.setattr(trainer, "on_train_start", lambda: None)
    monkeypatch.setattr(trainer, "on_train_end", lambda: ended.append(trainer.current_epoch))
    trainer.dataloader_train = trainer.dataloader_val = iter(lambda: None, 0)

    def step(self, batch):
        steps.append(batch)
        clock.now += 1.0
        counts = {name: np.ones(2) for name in ("tp_hard", "fp_hard", "fn_hard")}
        return {"loss": np.zeros(()), **counts}

    monkeypatch.setattr(MSAMTrainer, "train_step", step)
    monkeypatch.setattr(MSAMTrainer, "validation_step", step)
    monkeypatch.setattr(trainer, "save_checkpoint", lambda name: None)
    trainer.run_training()
    # Epochs of 25 + 3 steps of a second: two whole ones, then 4 steps of the third.
    assert ended == [2] and len(steps) == 60


def test_names_say_the_budget():
    names = [name for name in TRAINERS if "minute" in name]
    assert len(names) >= 12
    for name in names:
        base, budget = name.split("_")
        trainer_class = load(TRAINERS[name])
        assert f"{trainer_class.budget_minutes}minute" == budget.removesuffix("s")
        assert base in [parent.__name__ for parent in trainer_class.__mro__]
