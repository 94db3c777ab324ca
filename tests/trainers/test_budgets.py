import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from msam_nn.registry import TRAINERS, load
from msam_nn.trainers import budgets, progress
from msam_nn.trainers.budgets import MSAMTrainer_1minute
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.optimisation import PRACTICE_BEGINS, PRACTICE_RATE


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move; it stands where it is put."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(progress, "cpu_seconds", lambda: Clock.now / 2)
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
        rates.append([group["lr"] for group in trainer.optimizer.param_groups])
    begins = PRACTICE_BEGINS
    before = [8e-4 * (1 - share / begins) ** 0.9 for share in (0, 1 / 2, 2 / 3)]
    practised = [PRACTICE_RATE * ((1 - share) / (1 - begins)) ** 0.9 for share in (11 / 12, 0.9999)]
    *rest, clicks, other_clicks = zip(*rates, strict=True)
    assert [group["practises"] for group in trainer.optimizer.param_groups] == [False, False, True, True]
    assert clicks == other_clicks == pytest.approx([*before, *practised])
    assert rest[0] == rest[1] == pytest.approx([*before, 0, 0])


def test_with_several_gpus_the_first_ones_clock_sets_the_rate(trainer, clock, monkeypatch):
    clock.now += 30
    monkeypatch.setattr(progress.dist, "broadcast", lambda value, src: value.fill_(0.25))
    trainer.is_ddp = True
    trainer.lr_scheduler.step(0)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(8e-4 * (1 - 0.25 / PRACTICE_BEGINS) ** 0.9)


def test_training_ends_with_the_step_that_spends_the_budget(trainer, clock, monkeypatch):
    ended, steps = [], []
    monkeypatch.setattr(trainer, "on_train_start", lambda: None)
    monkeypatch.setattr(trainer, "on_train_end", lambda: ended.append(trainer.current_epoch))
    trainer.dataloader_train = trainer.dataloader_val = iter(lambda: None, 0)

    def step(self, batch):
        steps.append(batch)
        clock.now += 1.0
        counts = {name: np.ones(2) for name in ("tp_hard", "fp_hard", "fn_hard")}
        return {"loss": np.zeros(()), "click_counts": np.ones((3, 2), int), **counts}

    monkeypatch.setattr(MSAMTrainer, "train_step", step)
    monkeypatch.setattr(MSAMTrainer, "validation_step", step)
    monkeypatch.setattr(trainer, "save_checkpoint", lambda name: None)
    trainer.run_training()
    # Epochs of 25 + 3 steps of a second: two whole ones, then 4 steps of the third.
    assert ended == [2] and len(steps) == 60


def test_a_budget_that_ends_in_the_first_epoch_leaves_what_nnunets_export_wants(trainer, clock, monkeypatch):
    def step(self, batch):
        clock.now += 10.0
        return {"loss": np.zeros(())}

    monkeypatch.setattr(trainer, "on_train_start", lambda: None)
    monkeypatch.setattr(MSAMTrainer, "train_step", step)
    trainer.dataloader_train = trainer.dataloader_val = iter(lambda: None, 0)
    trainer.run_training()
    assert trainer.current_epoch == 0
    assert all((Path(trainer.output_folder) / f).is_file() for f in ("progress.png", "checkpoint_final.pth"))


def test_a_continued_training_has_what_its_checkpoint_left(trainer, clock, phantom_plans, tmp_path):
    log = trainer.logger.local_logger.my_fantastic_logging
    log["epoch_end_timestamps"].append(0.0)  # of an epoch before time was noted
    trainer.on_train_epoch_start()
    clock.now += 45
    trainer._log_of_spent().append(trainer.spent)
    assert log[budgets.SPENT] == [0.0, 0.75]
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    clock.now += 1000
    again = MSAMTrainer_1minute(
        {**phantom_plans[0], "continue_training": True}, "3d_fullres", 0, phantom_plans[1], device=torch.device("cpu")
    )
    again.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    again.on_train_epoch_start()
    assert again.spent == again.budget_fraction == 0.75 and not again._is_spent()
    clock.now += 15
    assert again.minutes_spent == 0.25 and again._is_spent()


def random_batch():
    target = torch.randint(0, 3, (2, 1, 16, 32, 32)).short()
    return {"data": torch.randn(2, 1, 16, 32, 32), "target": [target[..., ::s, ::s, ::s] for s in (1, 2, 4)]}


def test_a_finished_training_trains_no_further(trainer, clock, phantom_plans, monkeypatch):
    """An epoch of three steps, practice from the third on, and one step of the second epoch."""
    train_step, steps = MSAMTrainer.train_step, []

    def timed(self, batch):
        steps.append(self.current_epoch)
        clock.now += 16
        return train_step(self, batch)

    monkeypatch.setattr(MSAMTrainer, "train_step", timed)
    monkeypatch.setattr(MSAMTrainer, "on_train_start", lambda self: None)
    monkeypatch.setattr(MSAMTrainer, "get_dataloaders", lambda self: (iter(random_batch, None),) * 2)

    def train(trainer):
        trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 3, 1
        trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
        trainer.run_training()
        return trainer.promptable.state_dict()

    weights, final = train(trainer), str(Path(trainer.output_folder) / "checkpoint_final.pth")
    assert steps == [0, 0, 0, 1] and trainer.practises
    for _ in range(2):
        plans = {**phantom_plans[0], "continue_training": True}
        again = MSAMTrainer_1minute(plans, "3d_fullres", 0, phantom_plans[1], device=torch.device("cpu"))
        again.load_checkpoint(final)
        assert again.spent == pytest.approx(64 / 60) and again.current_epoch == 1
        continued = train(again)
        assert len(steps) == 4 and not again.practises
        assert all(torch.equal(weights[key], continued[key]) for key in weights)
    assert weights["neighbourhood.practised"]
    assert again._log_of_spent() == pytest.approx([48 / 60, 64 / 60])


def test_cpu_minutes_count_cpu_time(phantom_plans, tmp_path, monkeypatch, clock):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trainer = budgets.MSAMTrainer_1cpuminute(phantom_plans[0], "3d_fullres", 0, phantom_plans[1], torch.device("cpu"))
    trainer.initialize()
    trainer.on_train_epoch_start()
    clock.now += 60
    assert trainer.minutes_spent == 1 and trainer.cpu_minutes_spent == 0.5 == trainer.budget_fraction
    assert trainer.minutes_left == 1


@pytest.mark.parametrize("base", TRAINERS)
def test_each_trainer_has_budgets(base):
    made = getattr(budgets, f"{base}_7epochs")
    assert issubclass(made, load(TRAINERS[base])) and made.budget == 7
    assert made is getattr(budgets, f"{base}_7epochs") and pickle.loads(pickle.dumps(made)) is made


def test_epochs_are_nnunets(phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    for name in ("MSAMPaperTrainer_3epochs", "nnUNetTrainerNoMirroring_3epochs"):
        plans = {**phantom_plans[0], "continue_training": False}
        trainer = getattr(budgets, name)(plans, "3d_fullres", 0, phantom_plans[1], torch.device("cpu"))
        if name.startswith("MSAM"):
            trainer.initialize()
            assert trainer.num_epochs == trainer.lr_scheduler.max_steps == 3
        assert trainer.num_iterations_per_epoch == 250 and trainer.planned_epochs == 3


@pytest.mark.parametrize("name", ["MSAMTrainer_0epochs", "MSAMTrainer_5", "NoSuchTrainer_5epochs"])
def test_other_names_are_no_attributes(name):
    with pytest.raises(AttributeError, match=name):
        getattr(budgets, name)


def test_spawned_workers_get_them():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        name = pool.submit(getattr, budgets.SAMMed3DTrainer_9cpuminutes, "__name__").result()
    assert name == "SAMMed3DTrainer_9cpuminutes"
