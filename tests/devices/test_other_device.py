"""No tensor of the host meets one of another device: what would stop a training or a click on a GPU."""

import contextlib
import copy
import io
from dataclasses import replace

import pytest
import torch

from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.clicks import Click
from msam_nn.networks.masksam import BUILDER, MaskSAMConfig
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.masksam.trainer import MaskSAMTrainer
from msam_nn.trainers.msam.self_prompted import MSAMSelfPromptedTrainer
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.msam_unet.trainer import MSAMUNetTrainer

SESSIONS = {
    "automatic": ClickRecipe(p_automatic=1),
    "clicked": ClickRecipe(p_automatic=0, p_from_nothing=0, p_long=0),
    "from nothing": ClickRecipe(p_automatic=0, p_from_nothing=1, p_long=0),
    "long": ClickRecipe(p_automatic=0, p_long=1, most_earlier=1),
}


@pytest.fixture
def make_trainer(phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans, dataset_json = copy.deepcopy(phantom_plans)

    def make(trainer_class, device, **changes):
        plans["configurations"]["3d_fullres"].update(changes)
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = trainer_class(plans, "3d_fullres", 0, dataset_json, device)
            trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return make


def batch_of(trainer):
    generator = torch.Generator().manual_seed(3)
    shape = trainer.configuration_manager.patch_size
    target = torch.zeros(2, 1, *shape, dtype=torch.int16)
    target[:, :, 4:12, 4:14, 4:14] = 1
    target[:, :, 4:12, 18:24, 4:14] = 2
    scales = trainer._get_deep_supervision_scales()
    levels = [target[tuple(slice(None, None, round(1 / s)) for s in (1, 1, *scale))] for scale in scales or ()]
    return {"data": torch.randn(2, trainer.num_input_channels, *shape, generator=generator), "target": levels or target}


def test_the_device_itself_refuses_to_mix(other_device):
    here, there = torch.ones(3), torch.ones(3, device=other_device)
    assert there.device == here.to(other_device).device == other_device
    assert (there + there).cpu().tolist() == [2, 2, 2] and (there + 1).sum().item() == 6
    with pytest.raises(RuntimeError, match="mixes devices"):
        there + here


def practised(trainer):
    """Steps of all kinds, a validation step, and practice."""
    for trainer.click_recipe in SESSIONS.values():
        trainer.train_step(batch_of(trainer))
    trainer.network.eval()
    trainer.validation_step(batch_of(trainer))
    trainer.network.train()
    if trainer.will_practise:
        trainer.practice_recipe = replace(trainer.practice_recipe, rounds=2)
        trainer.begin_practice()
        trainer.train_step(batch_of(trainer))
    return trainer


def used(trainer):
    """A window predicted, mirrored, too, and clicks: several on one class, one on another."""
    trainer.set_deep_supervision_enabled(False)
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = PromptedPredictor(device=trainer.device, use_mirroring=True, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.unwrapped_network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.unwrapped_network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        (0, 1),
    )
    image = torch.randn(trainer.num_input_channels, *(n + 5 for n in trainer.configuration_manager.patch_size))
    window = tuple(slice(n) for n in trainer.configuration_manager.patch_size)
    with torch.no_grad():
        predictor._internal_maybe_mirror_and_predict(image[(slice(None), *window)][None].to(trainer.device))
    predictor.set_image(image, automatic=False)
    for class_index, voxel, positive in ((0, (7, 8, 9), True), (0, (9, 20, 20), False), (1, (3, 3, 3), True)):
        predictor.add_click(Click(class_index, voxel, positive))
    predictor.undo()


@pytest.mark.parametrize("trainer_class", [MSAMTrainer, MSAMSelfPromptedTrainer])
def test_msam(make_trainer, other_device, monkeypatch, trainer_class):
    monkeypatch.setattr(trainer_class, "get_dataloaders", lambda self: (None, None))
    used(practised(make_trainer(trainer_class, other_device)))


def test_msam_unet(make_trainer, other_device, small_unets, monkeypatch):
    monkeypatch.setattr(MSAMUNetTrainer, "get_dataloaders", lambda self: (None, None))
    used(practised(make_trainer(MSAMUNetTrainer, other_device, architecture=small_unets["plain"])))


def test_masksam(make_trainer, other_device):
    config = MaskSAMConfig(
        in_channels=1, num_classes=3, patch_size=(4, 32, 32), n_queries=8, freeze_trunk=False, token_size=4, canvas=32,
        embed_dim=24, depth=4, num_heads=2, window_size=0, global_blocks=(), decoder_dim=16, decoder_heads=2,
        decoder_mlp_dim=32, generator_widths=(16, 8, 8, 8, 8),
    )  # fmt: skip
    architecture = {"network_class_name": BUILDER, "arch_kwargs": config.to_arch_kwargs(), "_kw_requires_import": []}
    trainer = make_trainer(MaskSAMTrainer, other_device, patch_size=[4, 32, 32], architecture=architecture)
    trainer.train_step(batch_of(trainer))
    trainer.network.eval()
    trainer.validation_step(batch_of(trainer))
