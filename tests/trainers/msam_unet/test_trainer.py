"""MSAMUNetTrainer on the phantom with nnU-Net's own plans, shrunk."""

import contextlib
import copy
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.cli.convert_weights import convert
from msam_nn.errors import UnsupportedError, UserError
from msam_nn.networks import Points
from msam_nn.networks.decoding.corrections import MARGIN
from msam_nn.networks.layers.basic import LOGIT
from msam_nn.networks.msam_unet.network import MASK_PRIOR
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam_unet.trainer import MSAMUNetTrainer, prepare_plans

CPU = torch.device("cpu")


@pytest.fixture
def plans(phantom_plans, small_unets):
    plans, dataset_json = copy.deepcopy(phantom_plans)
    plans["configurations"]["3d_fullres"]["architecture"] = copy.deepcopy(small_unets["plain"])
    return plans, dataset_json


@pytest.fixture
def make(plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))

    def make(cls=MSAMUNetTrainer, dataset_json=None, **architecture):
        torch.manual_seed(0)
        own = copy.deepcopy(plans[0])
        own["configurations"]["3d_fullres"]["architecture"].update(architecture)
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = cls(own, "3d_fullres", 0, dataset_json or plans[1], CPU)
            trainer.initialize()
        return trainer

    return make


def batch(trainer, highest=2, frozen=False):
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(2, 1, 16, 32, 32, dtype=torch.int16)
    target[:, :, 4:12, 8:20, 8:20] = 1
    target[:, :, 4:12, 20:28, 8:20] = highest
    image = torch.randn(2, trainer.num_input_channels, 16, 32, 32, generator=generator)
    coarse = target[..., ::2, ::2]
    return {"data": image, "target": target if frozen else [target, coarse][: len(trainer.loss.weight_factors)]}


def trained_unet(make, tmp_path, **architecture):
    """nnU-Net's own trainer with random weights that matter, and its checkpoint."""
    trainer = make(nnUNetTrainer, **architecture)
    trainer.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    return trainer, tmp_path / "checkpoint_final.pth"


@pytest.mark.parametrize("kind", ["plain", "residual encoder"])
def test_a_given_unet_answers_as_before_bit_for_bit(make, plans, small_unets, tmp_path, kind):
    architecture = small_unets[kind]
    unet, file = trained_unet(make, tmp_path, **architecture)
    own = copy.deepcopy(plans[0])
    own["configurations"]["3d_fullres"]["architecture"].update(architecture)
    content, trainer_name = convert(file, own, "3d_fullres", plans[1])
    assert trainer_name == "MSAMUNetTrainer"
    torch.save(content, tmp_path / "init.pth")
    trainer = make(**architecture)
    with contextlib.redirect_stdout(io.StringIO()):
        load_pretrained_weights(trainer.network, str(tmp_path / "init.pth"))
    assert trainer.promptable.unet_is_given
    trainer.freeze_unet()
    trainer.on_train_epoch_start()
    before = copy.deepcopy(trainer.promptable.unet.state_dict())
    for _ in range(2):
        trainer.train_step(batch(trainer, frozen=True))
    assert all(torch.equal(before[key], value) for key, value in trainer.promptable.unet.state_dict().items())
    for network in (unet.network, trainer.network):
        network.eval()
    unet.network.decoder.deep_supervision = False
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        assert torch.equal(unet.network(image), trainer.network(image))


def test_only_the_prompt_path_of_a_given_unet_trains_and_resumes(make, tmp_path):
    trainer = make()
    trainer.freeze_unet()
    trainer.on_train_epoch_start()
    trainer.train_step(batch(trainer, frozen=True))
    without = [n for n, p in trainer.promptable.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert not any(p.requires_grad for p in trainer.promptable.unet.parameters())
    assert not trainer.promptable.train().unet.training
    trainer.save_checkpoint(str(tmp_path / "latest.pth"))
    again = make()
    again.load_checkpoint(str(tmp_path / "latest.pth"))
    assert again.promptable.is_frozen
    for a, b in zip(trainer.promptable.parameters(), again.promptable.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("is_frozen", "epoch"), [(True, 2), (False, 7)], ids=["on a given U-Net", "in practice"])
def test_an_interruption_costs_an_epoch_at_most(make, monkeypatch, is_frozen, epoch):
    """Though ``checkpoint_best`` is that of the first epoch."""
    interrupted = [epoch]

    def step(self, batch):
        if self.current_epoch in interrupted:
            raise KeyboardInterrupt
        one = np.ones(2)
        return {"loss": np.zeros(()), "click_counts": np.ones((3, 2)), "tp_hard": one, "fp_hard": one, "fn_hard": one}

    monkeypatch.setattr(MSAMUNetTrainer, "on_train_start", lambda self: None)
    monkeypatch.setattr(MSAMUNetTrainer, "train_step", step)
    monkeypatch.setattr(MSAMUNetTrainer, "validation_step", step)
    monkeypatch.setattr(MSAMUNetTrainer, "get_dataloaders", lambda self: (iter(lambda: None, 0),) * 2)

    def make_short():
        trainer = make()
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 8, 1, 1
        trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
        return trainer

    trainer = make_short()
    if is_frozen:
        trainer.promptable.unet_is_given.fill_(True)
        trainer.freeze_unet()
    with pytest.raises(UserError, match=f"interrupted in epoch {epoch}: continue"):
        trainer.run_training()
    again = make_short()
    maybe_load_checkpoint(again, continue_training=True, validation_only=False)
    assert again.current_epoch == interrupted.pop()
    again.run_training()
    kept = {file.stem for file in Path(again.output_folder).glob("*.pth")}
    assert kept == {"checkpoint_best", "checkpoint_final"}


def test_both_train_together_with_deep_supervision(make):
    trainer = make()
    trainer.click_recipe = ClickRecipe(p_automatic=0)
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(batch(trainer))["loss"]) for _ in range(8)]
    assert losses[-1] < losses[0]
    without = {n.split(".")[2] for n, p in trainer.promptable.named_parameters() if p.requires_grad and p.grad is None}
    assert without <= {"seg_layers"}, "all but nnU-Net's own head of the coarsest scale, which has no weight"
    trainer.on_validation_epoch_start()
    trainer.network.eval()
    with torch.no_grad():
        result = trainer.validation_step(batch(trainer))
    assert result["tp_hard"].shape == (2,) and result["click_counts"].shape == (3, 2)


def with_regions(dataset_json):
    labels = {"background": 0, "both": [1, 2], "organ": 2, "ignore": 3}
    return {**dataset_json, "labels": labels, "regions_class_order": [1, 2]}


@pytest.mark.parametrize("regions", [False, True], ids=["labels", "regions"])
def test_masks_of_a_training_from_nothing_begin_empty(make, plans, regions):
    network = make(dataset_json=with_regions(plans[1]) if regions else None).promptable
    *_, finest = network.unet.decoder.seg_layers
    constant = network.relative_masks(finest(torch.zeros(1, finest.in_channels, 2, 2, 2)))
    assert torch.equal(constant, torch.full_like(constant, MASK_PRIOR))


def test_heads_learn_faster_until_practice_begins(make):
    trainer = make()
    *_, head = trainer.promptable.unet.decoder.seg_layers
    trainer.lr_scheduler.step(0)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    trained = [p for p in trainer.promptable.parameters() if p.requires_grad]
    assert rates.keys() == {id(p) for p in trained}
    assert rates[id(head.weight)] == rates[id(head.bias)] == LOGIT * trainer.initial_learning_rate
    encoder, practised = trainer.promptable.unet.encoder, trainer.promptable.neighbourhood
    assert {rates[id(p)] for part in (encoder, practised) for p in part.parameters()} == {1e-3}
    shrinks = [g["lr"] * g["weight_decay"] for g in trainer.optimizer.param_groups if g["params"] and g["weight_decay"]]
    assert shrinks == pytest.approx([1e-3 * trainer.decay] * len(shrinks)), "their weights shrink no faster"


def test_heads_learn_faster_without_practice_too(make):
    class WithoutPractice(MSAMUNetTrainer):
        practice_recipe = None

    trainer = make(WithoutPractice)
    *_, head = trainer.promptable.unet.decoder.seg_layers
    trainer.lr_scheduler.step(trainer.num_epochs / 2)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    (slow,) = {rates[id(p)] for p in trainer.promptable.unet.encoder.parameters()}
    assert slow == pytest.approx(trainer.initial_learning_rate * 0.5**0.9)
    assert rates[id(head.weight)] == pytest.approx(LOGIT * slow)


def test_regions_and_ignore_label(make, plans):
    trainer = make(dataset_json=with_regions(plans[1]))
    assert not trainer.promptable.background and trainer.promptable.num_classes == 2
    trainer.on_train_epoch_start()
    labels = batch(trainer, highest=3)["target"][0]
    target = torch.cat([(labels == 1) | (labels == 2), labels == 2, labels == 3], dim=1).short()
    scales = [target, target[..., ::2, ::2]][: len(trainer.loss.weight_factors)]
    assert float(trainer.train_step({"data": torch.randn(2, 1, 16, 32, 32), "target": scales})["loss"]) > 0


def test_cascade_and_several_channels_reach_the_unet(make, plans):
    configurations = plans[0]["configurations"]
    configurations["3d_fullres"]["previous_stage"] = "3d_lowres"
    configurations["3d_lowres"] = {"inherits_from": "3d_fullres", "next_stage": "3d_fullres", "previous_stage": None}
    dataset_json = {**plans[1], "channel_names": {"0": "CT", "1": "PET"}}
    trainer = make(dataset_json=dataset_json)
    assert trainer.is_cascaded and trainer.num_input_channels == 4, "two images, two one-hot classes"
    trainer.on_train_epoch_start()
    assert float(trainer.train_step(batch(trainer))["loss"]) != 0


@pytest.mark.parametrize("is_frozen", [False, True], ids=["together", "frozen"])
def test_ddp_leads_both_ranks_to_the_same_weights(plans, tmp_path, is_frozen):
    (tmp_path / "inputs.json").write_text(json.dumps([*plans, is_frozen]))
    worker = Path(__file__).with_name("ddp_worker.py")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([sys.executable, worker, str(rank), tmp_path], env=one_thread) for rank in (0, 1)]
    assert [rank.wait(timeout=480) for rank in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"weights_{rank}.pth") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("regions", [False, True], ids=["classes", "regions"])
def test_folds_frozen_from_their_own_checkpoints_predict_what_nnunets_ensemble_predicts(make, plans, tmp_path, regions):
    plans, dataset_json = plans[0], copy.deepcopy(plans[1])
    if regions:
        dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2, "ignore": 3}
        dataset_json["regions_class_order"] = [1, 2]
    for fold in (0, 1):
        unet = make(nnUNetTrainer, dataset_json)
        with torch.no_grad():
            for parameter in unet.network.parameters():
                parameter += 0.02 * fold
        clicked = make(dataset_json=dataset_json)
        content, _ = convert(save(unet, tmp_path, fold), copy.deepcopy(plans), "3d_fullres", dataset_json)
        torch.save(content, tmp_path / "init.pth")
        with contextlib.redirect_stdout(io.StringIO()):
            load_pretrained_weights(clicked.network, str(tmp_path / "init.pth"))
        save(clicked, tmp_path, fold)
    image, logits = torch.randn(1, 20, 40, 36), []
    for name in ("nnUNetTrainer", "MSAMUNetTrainer"):
        predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(tmp_path / name), (0, 1))
        logits.append(predictor.predict_logits_from_preprocessed_data(image))
    assert torch.equal(*logits) and logits[0].shape[0] == (2 if regions else 3)


def save(trainer, root, fold):
    """The trainer's model folder as ``nnUNetv2_train`` leaves it; returns the checkpoint."""
    folder = root / type(trainer).__name__
    (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(trainer.dataset_json))
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.save_checkpoint(str(folder / f"fold_{fold}" / "checkpoint_final.pth"))
    return folder / f"fold_{fold}" / "checkpoint_final.pth"


def click(network, voxel, label=1):
    labels = torch.full((1, network.num_classes, 1), -1)
    labels[0, 0] = label
    return Points(torch.tensor(voxel).expand(1, network.num_classes, 1, 3), labels)


def test_a_click_acts_from_the_first_step_and_on_its_class_alone(make):
    network = make().promptable.eval()
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        automatic, clicked = network(image, lambda stage, masks: click(network, (8, 16, 16)) if stage else None, 2)
        removed = network(image, lambda stage, masks: click(network, (8, 16, 16), 0) if stage else None, 2)[1]
    own = automatic[0, 1, 8, 16, 16].item()
    assert clicked[0, 1, 8, 16, 16] == pytest.approx(max(own, MARGIN), abs=1e-4)
    assert removed[0, 1, 8, 16, 16] == pytest.approx(min(own, -MARGIN), abs=1e-4)
    assert torch.equal(clicked[0, [0, 2]], automatic[0, [0, 2]])


def test_a_class_clicked_at_the_first_stage_starts_from_no_mask(make):
    network = make().promptable.eval()
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        (clicked,) = network(image, lambda stage, masks: click(network, (8, 16, 16)))
        automatic = network.encode(image).masks
        fresh = network.refine(network.encode(image), click(network, (8, 16, 16)), network.resume(0 * automatic))
    assert torch.equal(clicked[:, 1], network.masks(fresh)[:, 0]) and not torch.equal(clicked[:, 1], automatic[:, 0])
    assert torch.equal(clicked[:, 2], automatic[:, 1])


def test_a_click_acts_in_its_own_stage_only(make):
    network = make().promptable.eval()
    with torch.no_grad():
        features = network.encode(torch.randn(1, 1, 16, 32, 32))
        features.masks.fill_(-1.0)
        first = network.refine(features, click(network, (2, 3, 3)), network.refine(features, None, None))
        second = network.refine(features, click(network, (13, 28, 28)), first)
    added = network.masks(second) - network.masks(first)
    assert added[0, 0, 2, 3, 3].abs() < 0.01 and added[0, 0, 13, 28, 28] > 1


def test_once_practised_the_prompt_path_is_asked_only_without_a_border(make):
    trainer = make()
    network, image = trainer.network.eval(), batch(trainer)["data"][:1]
    network.neighbourhood.set_practised(True)
    with torch.no_grad():
        features = network.encode(image)
        masks = torch.full((1, network.num_classes, 16, 32, 32), -2.0)
        nothing = network.resume(masks.clone())
        masks[..., :8] = 2.0
        asked = []
        network.prompt_path.register_forward_hook(lambda *_: asked.append(True))
        network.refine(features, click(network, (8, 16, 10)), network.resume(masks))
        assert not asked
        network.refine(features, click(network, (8, 16, 10)), nothing)
        assert asked


def test_resuming_continues_where_a_stage_ended(make):
    network = make().promptable.eval()
    first, second = click(network, (8, 16, 16)), click(network, (3, 5, 7), 0)
    with torch.no_grad():
        features = network.encode(torch.randn(1, 1, 16, 32, 32))
        state = network.refine(features, first, network.refine(features, None, None))
        resumed = network.resume(network.masks(state), first)
        after = [network.masks(network.refine(features, second, s)) for s in (state, resumed)]
    assert torch.equal(*after)


def test_weights_of_other_plans_are_refused(make, plans, small_unets, tmp_path):
    _, file = trained_unet(make, tmp_path)
    other = copy.deepcopy(plans[0])
    other["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 16, 32]
    with pytest.raises(UserError, match="these plans need"):
        convert(file, other, "3d_fullres", plans[1])
    other["configurations"]["3d_fullres"]["architecture"] = copy.deepcopy(small_unets["residual encoder"])
    with pytest.raises(UserError, match="trained with other plans"):
        convert(file, other, "3d_fullres", plans[1])


def test_a_checkpoint_of_nnunets_own_trainer_is_refused(make, tmp_path):
    _, file = trained_unet(make, tmp_path)
    with pytest.raises(UserError, match="does not fit the plans"):
        make().load_checkpoint(str(file))


def test_plans_without_a_unet_are_refused(phantom_plans):
    plans, dataset_json = phantom_plans
    with pytest.raises(UserError, match="no U-Net"):
        prepare_plans(plans, "3d_fullres", dataset_json)
    with pytest.raises(UserError, match="no configuration 3d_lowres"):
        prepare_plans(plans, "3d_lowres", dataset_json)
    plans["configurations"]["2d"] = {**plans["configurations"]["3d_fullres"], "patch_size": [32, 32]}
    with pytest.raises(UnsupportedError, match="use 3d_fullres"):
        prepare_plans(plans, "2d", dataset_json)


def test_the_predictor_rebuilds_it_from_the_plans(make):
    trainer = make()
    manager = trainer.plans_manager
    built = MSAMUNetTrainer.build_network_architecture(
        PlansManager(manager.plans), manager.get_configuration("3d_fullres"), 1, 3, False
    )
    assert built.load_state_dict(trainer.network.state_dict()) and not built.unet.decoder.deep_supervision
