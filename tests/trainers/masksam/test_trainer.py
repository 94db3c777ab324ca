import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.errors import UserError
from msam_nn.networks.masksam import SetPrediction


def batch_of(target, channels=1):
    generator = torch.Generator().manual_seed(3)
    return {"data": torch.randn(len(target), channels, *target.shape[2:], generator=generator), "target": target}


def labels(highest=2):
    return torch.randint(0, highest + 1, (2, 1, 4, 32, 32), generator=torch.Generator().manual_seed(4)).short()


def test_it_is_an_nnunet_trainer_that_nnunet_configures(make_trainer):
    trainer = make_trainer()
    assert isinstance(trainer, nnUNetTrainer) and trainer.enable_deep_supervision is False
    assert set(trainer.my_init_kwargs) == {"plans", "configuration", "fold", "dataset_json", "device"}
    assert not trainer._do_i_compile()
    trained = sum(p.numel() for group in trainer.optimizer.param_groups for p in group["params"])
    assert trained == sum(p.numel() for p in trainer.masksam.parameters() if p.requires_grad)


def test_a_step_learns(make_trainer):
    trainer = make_trainer()
    trainer.warmup_steps, trainer.scheduled_lr = 1, 5e-3
    target = torch.zeros(2, 1, 4, 32, 32, dtype=torch.int16)
    target[..., :16] = 1
    target[..., :8, :] = 2
    batch = batch_of(target)
    batch["data"] += target
    losses = [float(trainer.train_step(copy.deepcopy(batch))["loss"]) for _ in range(15)]
    assert losses[-1] < 0.75 * losses[0]


def test_the_learning_rate_warms_up_over_the_first_steps(make_trainer):
    trainer = make_trainer()
    rates = []
    for _ in range(60):
        trainer.warm_up()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(5e-4 / 50) and rates[24] == pytest.approx(5e-4 / 2)
    assert rates[49:] == pytest.approx([5e-4] * 11)
    trainer.current_epoch = 1  # as after --c
    trainer.on_train_epoch_start()
    trainer.warm_up()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4 * 0.999**0.9)


def test_what_trains_gets_a_gradient_and_the_rest_stays(make_trainer):
    trainer = make_trainer(freeze_trunk=True)
    before = {name: p.detach().clone() for name, p in trainer.masksam.named_parameters()}
    for _ in range(2):  # adapters start at zero: what is inside them learns from the second step on
        trainer.train_step(batch_of(labels()))
    parameters = dict(trainer.masksam.named_parameters())
    assert [n for n, p in parameters.items() if p.requires_grad and p.grad is None] == []
    frozen = [n for n, p in parameters.items() if not p.requires_grad]
    assert "image_encoder.pos_embed" in frozen and "mask_decoder.iou_token.weight" in frozen
    assert all(torch.equal(parameters[n], before[n]) and parameters[n].grad is None for n in frozen)
    assert not torch.equal(parameters["class_token"], before["class_token"])


def test_validation_counts_the_semantic_prediction(make_trainer, monkeypatch):
    trainer, target = make_trainer(), labels()
    trainer.network.eval()
    logits = 9.0 * torch.nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1)
    monkeypatch.setattr(trainer.masksam, "forward", lambda image: logits)
    counts = trainer.validation_step(batch_of(target.clone()))
    assert counts["tp_hard"].tolist() == [(target == 1).sum(), (target == 2).sum()]
    assert not counts["fp_hard"].any() and not counts["fn_hard"].any()


def test_regions_and_ignored_voxels_train(make_trainer, masksam_plans):
    dataset_json = copy.deepcopy(masksam_plans[1])
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2, "ignore": 3}
    dataset_json["regions_class_order"] = [1, 2]
    trainer = make_trainer(dataset_json)
    map_ = labels(highest=3)
    map_[:, :, 0], map_[:, :, 1] = 0, 3  # a slice without a region, and one that is ignored
    target = torch.cat([(map_ == 1) | (map_ == 2), map_ == 2, map_ == 3], dim=1).short()
    assert torch.isfinite(torch.as_tensor(trainer.train_step(batch_of(target))["loss"]))
    trainer.network.eval()
    assert trainer.network(torch.zeros(1, 1, 4, 32, 32)).shape == (1, 2, 4, 32, 32)


def test_a_cascade_sees_the_previous_stage(make_trainer):
    """Two channels more, one a foreground class."""
    trainer = make_trainer(configuration="3d_cascade_fullres")
    assert trainer.is_cascaded and trainer.masksam.config.in_channels == 3
    assert torch.isfinite(torch.tensor(trainer.train_step(batch_of(labels(), channels=3))["loss"]))


def test_positions_do_not_decay(make_trainer):
    trainer = make_trainer()
    decayed = {id(p) for p in trainer.optimizer.param_groups[0]["params"]}
    names = [name for name, p in trainer.masksam.named_parameters() if id(p) in decayed]
    assert "image_encoder.blocks.0.mlp.lin1.weight" in names
    assert not [name for name in names if "depth_position" in name or "depth_embed" in name or "pos_embed" in name]


def test_a_2d_configuration_trains_on_single_slices(make_trainer, masksam_plans):
    plans = masksam_plans[0]["configurations"]["3d_fullres"]
    plans.update(patch_size=[32, 48], spacing=[1.0, 1.0])
    trainer = make_trainer()
    assert trainer.masksam.config.patch_size == (1, 32, 48)
    target = torch.randint(0, 3, (2, 1, 32, 48)).short()
    assert torch.isfinite(torch.as_tensor(trainer.train_step(batch_of(target))["loss"]))
    trainer.network.eval()
    counts = trainer.validation_step(batch_of(target))
    assert counts["tp_hard"].shape == (2,)


def test_a_frozen_trunk_without_weights_stops(make_trainer):
    trainer = make_trainer(freeze_trunk=True)
    with pytest.raises(UserError, match=r"convert-weights sam_vit_b_01ec64.pth .*MaskSAMPlannerTiny"):
        trainer.on_train_start()
    with torch.no_grad():
        trainer.masksam.image_encoder.pos_embed += 1
    trainer.insist_on_loaded_weights()


def test_training_output_is_a_set(make_trainer):
    trainer = make_trainer()
    trainer.network.train()
    assert isinstance(trainer.network(torch.zeros(1, 1, 4, 32, 32)), SetPrediction)


def test_processes_of_ddp_agree_even_where_one_has_no_target(masksam_plans, tmp_path):
    plans, dataset_json = masksam_plans
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "organ": 2}
    dataset_json["regions_class_order"] = [1, 2]
    (tmp_path / "inputs.json").write_text(json.dumps([plans, dataset_json]))
    worker = Path(__file__).with_name("ddp_worker.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([sys.executable, str(worker), str(rank), str(tmp_path)], env=environment) for rank in (0, 1)
    ]
    assert [rank.wait(timeout=250) for rank in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"gradient_{rank}.pth") for rank in (0, 1))
    assert first.keys() == second.keys() and len(first) > 50
    assert all(torch.equal(first[name], second[name]) for name in first)
