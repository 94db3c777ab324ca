import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.errors import UserError
from msam_nn.networks import Points
from msam_nn.prompts import Recorder
from msam_nn.trainers.clicks.log import CLICK_DICE
from msam_nn.trainers.clicks.loss import click_loss
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam.paper import MSAMPaperTrainer
from msam_nn.trainers.msam.self_prompted import MSAMSelfPromptedTrainer
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.optimisation import PRACTICE_RATE

CPU = torch.device("cpu")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_trainer(phantom_plans, results):
    def make(cls=MSAMTrainer, plans=None, dataset_json=None, **attributes):
        torch.manual_seed(0)
        trainer = cls(
            copy.deepcopy(plans or phantom_plans[0]), "3d_fullres", 0, dataset_json or phantom_plans[1], device=CPU
        )
        for name, value in attributes.items():
            setattr(trainer, name, value)
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return make


def batch_of(target, channels=1):
    """A batch with the targets of deep supervision: three resolutions above tokens of 8 voxels."""
    generator = torch.Generator().manual_seed(3)
    data = torch.randn(len(target), channels, 16, 32, 32, generator=generator)
    return {"data": data, "target": [target[..., ::s, ::s, ::s] for s in (1, 2, 4)]}


def label_batch(n=2, highest=2):
    return torch.randint(0, highest + 1, (n, 1, 16, 32, 32), generator=torch.Generator().manual_seed(4)).short()


def test_it_is_an_nnunet_trainer_with_the_signature_nnunet_reads(make_trainer):
    trainer = make_trainer()
    assert isinstance(trainer, nnUNetTrainer)
    assert set(trainer.my_init_kwargs) == {"plans", "configuration", "fold", "dataset_json", "device"}
    assert trainer.enable_deep_supervision


@pytest.mark.parametrize("trainer_class", [MSAMTrainer, MSAMSelfPromptedTrainer])
def test_clicks_reach_as_far_in_mm_along_every_axis(make_trainer, phantom_plans, trainer_class):
    trainer = make_trainer(trainer_class)
    coarse, fine, _ = phantom_plans[0]["configurations"]["3d_fullres"]["spacing"]
    assert coarse > 2 * fine and trainer.msam.voxels_per_length == pytest.approx((1, coarse / fine, coarse / fine))


def test_a_step_learns(make_trainer):
    trainer = make_trainer(initial_lr=5e-3, click_recipe=ClickRecipe(p_automatic=0))
    target = torch.zeros(2, 1, 16, 32, 32, dtype=torch.int16)
    target[..., :16] = 1
    target[..., :8, :, :] = 2
    losses = [float(trainer.train_step(batch_of(target))["loss"]) for _ in range(12)]
    assert losses[-1] < 0.75 * losses[0]


COARSEST_HEAD = ["initial_decoder.heads.0.weight", "initial_decoder.heads.0.bias"]
"""Has weight 0 in nnU-Net's deep supervision, except under DDP."""


def untrained(trainer):
    return [n for n, p in trainer.msam.named_parameters() if p.requires_grad and p.grad is None]


def test_every_trained_parameter_gets_a_gradient(make_trainer):
    trainer = make_trainer(click_recipe=ClickRecipe(p_automatic=0))
    trainer.train_step(batch_of(label_batch()))
    assert untrained(trainer) == COARSEST_HEAD


def test_long_sessions_learn_from_their_last_clicks(make_trainer):
    trainer = make_trainer(click_recipe=ClickRecipe(p_automatic=0, p_long=1, most_earlier=1))
    sessions = []
    forward = trainer.msam.forward
    trainer.network.forward = lambda *arguments: sessions.append(arguments) or forward(*arguments)
    trainer.train_step(batch_of(label_batch()))
    (image, clicks, n_stages, classes, silent) = sessions[0]
    n_auto = trainer.msam.n_auto_stages
    assert silent == range(n_auto + 1) and n_stages == n_auto + 1 + trainer.n_click_stages
    assert len(clicks.source.given) == n_stages - n_auto and clicks.source.reach == trainer.msam.click_reach
    assert len(clicks.learned) == trainer.n_click_stages
    assert untrained(trainer) == COARSEST_HEAD


def test_an_automatic_step_prepares_no_stages(make_trainer, monkeypatch):
    """And its loss is that of a loop without clicks."""
    trainer, batch = make_trainer(click_recipe=ClickRecipe(p_automatic=1)), batch_of(label_batch())
    outputs, stages = trainer.msam(batch["data"], lambda stage, masks: None, 1, None, range(1))
    expected = trainer.loss(outputs, batch["target"])
    monkeypatch.setattr(trainer.msam, "image_features", None)
    assert not stages and trainer.train_step(batch)["loss"] == pytest.approx(expected.item(), abs=1e-5)


def test_the_last_quarter_practises_clicks_and_leaves_everything_else_as_it_is(make_trainer, monkeypatch):
    trainer, plain = make_trainer(num_epochs=4), batch_of(label_batch())
    monkeypatch.setattr(trainer, "get_dataloaders", lambda: (iter([plain]), "validation"))
    trainer.current_epoch = 2
    trainer.msam.neighbourhood.set_practised(True)  # as given weights may have
    trainer.on_train_epoch_start()
    assert not trainer.msam.neighbourhood.practised
    trainer.train_step(batch_of(label_batch()))
    assert not trainer.practises
    assert trainer.num_iterations_per_epoch == 250
    trainer.current_epoch = 3
    before = copy.deepcopy(trainer.msam.state_dict())
    trainer.on_train_epoch_start()
    assert trainer.practises and trainer.dataloader_val == "validation" and trainer.num_iterations_per_epoch == 50
    loss = trainer.train_step(plain)["loss"]
    changed = {name.split(".")[0] for name, value in trainer.msam.state_dict().items() if not value.equal(before[name])}
    assert changed == {"neighbourhood"} and np.isfinite(loss)
    assert [trainer.msam.neighbourhood.training, trainer.msam.initial_decoder.training] == [True, False]
    assert trainer.msam.neighbourhood.practised
    assert sorted({group["lr"] for group in trainer.optimizer.param_groups}) == pytest.approx([0, PRACTICE_RATE])


def test_the_logged_rate_is_that_of_what_practises(make_trainer, monkeypatch, capsys):
    trainer = make_trainer(num_epochs=4)
    monkeypatch.setattr(trainer, "get_dataloaders", lambda: (None, None))
    trainer.current_epoch = 3
    trainer.on_train_epoch_start()
    assert trainer.logger.get_value("lrs", step=None) == pytest.approx([trainer.initial_lr, PRACTICE_RATE])
    printed = capsys.readouterr().out
    assert f"at a learning rate of {PRACTICE_RATE:.3g}" in printed and "logging issue" not in printed


def test_practice_that_begins_within_an_epoch_has_images_of_its_own(make_trainer, monkeypatch):
    trainer = make_trainer(num_epochs=4)
    monkeypatch.setattr(trainer, "get_dataloaders", lambda: (iter([batch_of(label_batch())]), None))
    trainer.on_train_epoch_start()
    monkeypatch.setattr(type(trainer), "budget_fraction", 0.8)
    loss = trainer.train_step({"data": None, "target": label_batch()})["loss"]
    assert trainer.practises and np.isfinite(loss)


def test_practised_images_are_mirrored_and_nothing_else(make_trainer, monkeypatch):
    trainer = make_trainer()
    monkeypatch.setattr(trainer, "get_dataloaders", lambda: (None, None))
    trainer.begin_practice()
    transforms = trainer.get_training_transforms((16, 32, 32), (-0.5, 0.5), [[1.0] * 3], (0, 1, 2), False).transforms
    assert not any(hasattr(transform, "apply_probability") for transform in transforms)
    assert "MirrorTransform" in [type(transform).__name__ for transform in transforms]
    assert transforms[0].p_rotation == transforms[0].p_scaling == 0


class OnTheHost(torch.Tensor):
    """Stays there until it is moved, also where the device is the host."""

    def to(self, *_, **__):
        return self.as_subclass(torch.Tensor)


def test_targets_of_every_level_are_moved_to_the_device(make_trainer):
    trainer = make_trainer()
    target = [level.as_subclass(OnTheHost) for level in (label_batch(), label_batch()[:, :, ::2, ::2, ::2])]
    data, moved, _ = trainer._on_device({"data": torch.zeros(1).as_subclass(OnTheHost), "target": target}, None)
    assert [type(x) for x in (data, *moved)] == [torch.Tensor] * 3
    assert type(trainer._on_device({"data": data, "target": target[0]}, None)[1]) is torch.Tensor


def test_each_stage_is_judged_by_its_own_clicks_and_the_masks_they_correct(make_trainer):
    trainer = make_trainer()
    targets = trainer._on_device({"data": torch.zeros(1), "target": label_batch()}, None)[2]
    shown = torch.randn(3, 2, 2, 16, 32, 32)
    clicks = [Points(torch.tensor([4, 8, 9 + n]).expand(2, 2, 1, 3), torch.ones(2, 2, 1)) for n in range(3)]
    record = Recorder(lambda stage, masks: clicks[stage], silent=range(1))
    for stage, masks in enumerate(shown):
        record(stage, masks)
    stages = torch.randn(2, 2, 3, 16, 32, 32)
    options = dict(unit=trainer.msam.voxels_per_length, exclusive=True)
    expected = [click_loss(stages[n], shown[n + 1], clicks[n + 1], targets.masks, **options) for n in range(2)]
    loss = trainer.step_loss(list(stages), targets, label_batch(), record)
    torch.testing.assert_close(loss, 0.5 * sum(expected) / 2)
    assert expected[0] != expected[1]


def test_online_validation_counts_automatic_predictions(make_trainer):
    trainer = make_trainer()
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(batch_of(label_batch()))
    assert result["tp_hard"].shape == (2,) and result["click_counts"].shape == (3, 2)


def test_online_validation_tells_dice_after_clicks(make_trainer, results):
    """Counts of two batches by hand: class 1 has Dice 2*3/(6+1+1), class 2 is nowhere and does not count."""
    trainer = make_trainer()
    trainer.logger.log("train_losses", 0.5, 0)
    trainer.logger.log("epoch_start_timestamps", 0.0, 0)
    output = {"loss": 0.1, **{f"{name}_hard": np.ones(2) for name in ("tp", "fp", "fn")}}
    counts = [np.array([[1, 0], [1, 0], [0, 0]]), np.array([[2, 0], [0, 0], [1, 0]])]
    trainer.on_validation_epoch_end([{**output, "click_counts": c} for c in counts])
    assert trainer.logger.get_value(CLICK_DICE, step=None) == [pytest.approx(0.75)]
    trainer.logger.log("epoch_end_timestamps", 2.0, 0)
    trainer.logger.plot_progress_png(str(results))
    assert (results / "progress.png").stat().st_size > 10_000


def test_a_perfect_network_has_perfect_counts_after_clicks(make_trainer, monkeypatch):
    trainer = make_trainer()
    target = label_batch()
    logits = 9.0 * torch.nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1)
    monkeypatch.setattr(trainer, "network", Answers(trainer.network, logits))
    hit, wrong, missed = trainer.validation_step(batch_of(target))["click_counts"]
    assert hit.tolist() == [int((target == 1).sum()), int((target == 2).sum())]
    assert not wrong.any() and not missed.any()


def test_online_validation_clicks_as_many_classes_as_a_training_step(make_trainer):
    trainer = make_trainer()
    trainer.max_classes_per_step = 1
    trainer.network.eval()
    with torch.no_grad():
        counts = trainer.count_after_clicks(batch_of(label_batch()))
    assert counts.shape == (3, 2) and counts[:, 0].any() and not counts[:, 1].any()


class Answers:
    """Gives the same logits whatever it is asked."""

    def __init__(self, network, logits):
        self.network, self.logits = network, logits

    def __call__(self, data, prompt_source=None, n_stages=None, classes=None):
        levels = [self.logits[..., ::s, ::s, ::s] for s in (1, 2, 4)]
        return levels if prompt_source is None else [self.logits] * n_stages

    def __getattr__(self, name):
        return getattr(self.network, name)


def test_ignored_voxels_do_not_count(make_trainer, phantom_plans):
    dataset_json = copy.deepcopy(phantom_plans[1])
    dataset_json["labels"]["ignore"] = 3
    trainer = make_trainer(dataset_json=dataset_json, click_recipe=ClickRecipe(p_automatic=1))
    target = label_batch(highest=3)
    batch = batch_of(target)
    one = float(trainer.train_step(copy.deepcopy(batch))["loss"])
    other = make_trainer(dataset_json=dataset_json, click_recipe=ClickRecipe(p_automatic=1))
    assert one == float(other.train_step(copy.deepcopy(batch))["loss"])
    assert trainer.label_manager.ignore_label == 3


def test_regions_train(make_trainer, phantom_plans):
    dataset_json = copy.deepcopy(phantom_plans[1])
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2, "ignore": 3}
    dataset_json["regions_class_order"] = [1, 2]
    trainer = make_trainer(dataset_json=dataset_json, click_recipe=ClickRecipe(p_automatic=0))
    labels = label_batch(highest=3)
    target = torch.cat([(labels == 1) | (labels == 2), labels == 2, labels == 3], dim=1).short()
    assert float(trainer.train_step(batch_of(target))["loss"]) > 0
    assert [len(output[0]) for output in trainer.network(torch.zeros(1, 1, 16, 32, 32))] == [2, 2, 2]


def test_many_classes_train_in_random_subsets(make_trainer, phantom_plans):
    dataset_json = copy.deepcopy(phantom_plans[1])
    dataset_json["labels"] = {"background": 0, **{f"class {i}": i for i in range(1, 6)}}
    trainer = make_trainer(dataset_json=dataset_json, max_classes_per_step=2, click_recipe=ClickRecipe(p_automatic=0))
    drawn = {tuple(trainer.draw_classes().tolist()) for _ in range(60)}
    assert all(len(classes) == 2 and classes[0] < classes[1] for classes in drawn)
    assert {c for classes in drawn for c in classes} == {0, 1, 2, 3, 4}
    trainer.train_step(batch_of(label_batch(highest=5)))  # corrections start at zero: nothing reaches the embeddings
    before = trainer.msam.class_embedding.detach().clone()
    trainer.train_step(batch_of(label_batch(highest=5)))
    assert (trainer.msam.class_embedding != before).any(1).sum() == 2


def test_cascade_input_channels_reach_the_network(make_trainer, phantom_plans):
    plans, _ = copy.deepcopy(phantom_plans)
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    trainer = make_trainer(plans=plans)
    assert trainer.is_cascaded and trainer.num_input_channels == 3
    trainer.train_step(batch_of(label_batch(), channels=3))


def train_epochs(trainer, n):
    for epoch in range(trainer.current_epoch, n):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        for _ in range(2):
            trainer.train_step(batch_of(label_batch()))
    trainer.current_epoch = n - 1


def test_a_continued_training_is_the_uninterrupted_one(make_trainer, results):
    whole = make_trainer()
    train_epochs(whole, 4)
    first = make_trainer()
    train_epochs(first, 2)
    first.save_checkpoint(str(results / "checkpoint.pth"))
    second = make_trainer()
    second.load_checkpoint(str(results / "checkpoint.pth"))
    assert second.current_epoch == 2
    train_epochs(second, 4)
    for (name, a), b in zip(whole.msam.state_dict().items(), second.msam.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_failed_write_keeps_the_previous_checkpoint(make_trainer, results, monkeypatch):
    trainer = make_trainer()
    file = results / "checkpoint.pth"
    trainer.save_checkpoint(str(file))
    before = file.read_bytes()

    def full_disk(content, name):
        with open(name, "wb") as partial:
            partial.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match="No space left on device.*untouched.*--c"):
        trainer.save_checkpoint(str(file))
    assert file.read_bytes() == before
    assert not list(results.glob("*.partial"))


def test_a_checkpoint_of_another_architecture_is_refused(make_trainer, phantom_plans, results):
    file = str(results / "checkpoint.pth")
    make_trainer().save_checkpoint(file)
    plans = copy.deepcopy(phantom_plans[0])
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["depth"] = 1
    with pytest.raises(UserError, match="does not fit the plans MSAMPlans"):
        make_trainer(plans=plans).load_checkpoint(file)


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_damaged_checkpoint_is_refused(make_trainer, results, kept):
    trainer, file = make_trainer(), results / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match="checkpoint_latest.pth is damaged or no checkpoint: copy it again, or delete"):
        trainer.load_checkpoint(str(file))


@pytest.mark.parametrize("rank", [0, 1])
def test_each_gpu_draws_the_planned_share_of_foreground(make_trainer, monkeypatch, rank):
    trainer = make_trainer()
    planned = trainer.oversample_foreground_percent
    assert 0.5 <= planned < 1
    trainer.is_ddp = True
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    trainer._set_batch_size_and_oversample()
    assert (trainer.batch_size, trainer.oversample_foreground_percent) == (1, planned)


def test_cuda_without_a_gpu_is_refused(phantom_plans, results, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="-device cpu"):
        MSAMTrainer(*phantom_plans[:1], "3d_fullres", 0, phantom_plans[1], device=torch.device("cuda"))
    assert not list(results.iterdir())


def test_an_undeclared_label_is_named(make_trainer):
    with pytest.raises(UserError, match="holds the value 3, and dataset.json declares labels up to 2"):
        make_trainer().train_step(batch_of(label_batch(highest=3)))


def test_a_fold_without_cases_is_refused(make_trainer, nnunet_folders, tmp_path, monkeypatch):
    trainer = make_trainer()
    monkeypatch.setattr(nnUNetTrainer, "do_split", lambda self: ([], ["phantom_0000"]))
    with pytest.raises(UserError, match="no training case"):
        trainer.get_tr_and_val_datasets()


def test_variants_differ_in_what_their_name_says(make_trainer):
    paper = make_trainer(MSAMPaperTrainer)
    assert (paper.num_epochs, paper.n_stages, paper.initial_lr, paper.weight_decay) == (200, 10, 8e-4, 0.1)
    assert paper.draw_session() == (0, 10, range(0))
    names = [
        type(t).__name__
        for t in paper.get_training_transforms((16, 32, 32), (-0.5, 0.5), None, (0, 1, 2), False).transforms
    ]
    assert names == ["SpatialTransform", "MirrorTransform", "RemoveLabelTransform"]


def test_ddp_synchronises_gradients_through_the_loop(phantom_plans, results):
    (results / "inputs.json").write_text(json.dumps(phantom_plans))
    worker = Path(__file__).with_name("ddp_worker.py")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([sys.executable, worker, str(rank), results], env=one_thread) for rank in (0, 1)]
    assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    gradients = [torch.load(results / f"gradient_{rank}.pth") for rank in (0, 1)]
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)
