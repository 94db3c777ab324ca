"""Each ablation takes away what its name says, at prediction too, and starts from the full model's weights."""

import copy

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UserError
from msam_nn.trainers.msam.ablations import (
    MSAMFrozenEncoderTrainer,
    MSAMPaperTrainer_frozenEncoder,
    MSAMPaperTrainer_fullFinetune,
    MSAMPaperTrainer_withoutMEA,
    MSAMWithoutMEATrainer,
)
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def make(phantom_plans, tmp_path, monkeypatch):
    """Trainers on the phantom's plans, changed to LoRA on a frozen encoder as pretrained plans are."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans, dataset_json = phantom_plans
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs.update(lora_rank=2, freeze_encoder=True, initial_masks=False)

    def make(trainer_class):
        trainer = trainer_class(copy.deepcopy(plans), "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


@pytest.mark.parametrize(
    ("trainer_class", "adapter", "lora", "encoder_trains", "stages", "lr"),
    [
        (MSAMTrainer, True, True, False, 5, 8e-4),
        (MSAMWithoutMEATrainer, False, True, False, 5, 8e-4),
        (MSAMFrozenEncoderTrainer, True, False, False, 5, 8e-4),
        (MSAMPaperTrainer_withoutMEA, False, True, False, 10, 8e-4),
        (MSAMPaperTrainer_frozenEncoder, True, False, False, 10, 8e-4),
        (MSAMPaperTrainer_fullFinetune, True, False, True, 10, 8e-5),
    ],
)
def test_what_is_taken_away(make, tmp_path, trainer_class, adapter, lora, encoder_trains, stages, lr):
    trainer = make(trainer_class)
    torch.save({"network_weights": make(MSAMTrainer).network.state_dict()}, tmp_path / "init.pth")
    load_pretrained_weights(trainer.network, str(tmp_path / "init.pth"))
    plans = trainer.my_init_kwargs["plans"]  # what nnU-Net writes beside the model
    manager = PlansManager(plans)
    predicts = MSAMTrainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 1, 3)
    for network in (trainer.msam, predicts):
        assert (network.mask_enhanced_adapter is not None) == adapter
        assert any(".lora_" in name for name in network.state_dict()) == lora
        own = [p for name, p in network.image_encoder.named_parameters() if ".lora_" not in name]
        assert {p.requires_grad for p in own} == {encoder_trains}
    assert predicts.load_state_dict(trainer.msam.state_dict())
    assert trainer.n_stages == stages
    assert trainer.optimizer.param_groups[0]["lr"] == lr


def test_a_frozen_encoder_needs_loaded_weights(make):
    trainer = make(MSAMFrozenEncoderTrainer)
    with pytest.raises(UserError) as stopped:
        trainer.insist_on_loaded_weights()
    assert str(stopped.value).startswith("MSAMFrozenEncoderTrainer freezes the image encoder")
    assert "With -p MSAMPretrainedPlans, run: msam convert-weights" in str(stopped.value)
    assert "-p MSAMPretrainedPlans -c 3d_fullres -o init.pth; then add -pretrained_weights" in str(stopped.value)
    assert "use MSAMTrainer.)" in str(stopped.value)
    with pytest.raises(UserError, match="The plans MSAMPlans freeze .* Run: .* -p MSAMPlans .*plan with MSAMPlanner"):
        make(MSAMTrainer).insist_on_loaded_weights()
