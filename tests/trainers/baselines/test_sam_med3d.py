import copy

import pytest
import torch

from msam_nn.trainers.baselines.sam_med3d import SAMMed3DFinetuneTrainer, SAMMed3DTrainer
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def make(phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))

    def make(trainer_class=SAMMed3DTrainer):
        torch.manual_seed(0)
        plans, dataset_json = copy.deepcopy(phantom_plans)
        trainer = trainer_class(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return make


def test_the_network_is_sam_med3ds(make):
    config = make().msam.config
    assert (config.adapter, config.lora_rank, config.freeze_encoder, config.click_sigma) == (False, 0, False, 0.0)
    ours = make(MSAMTrainer).msam.config
    assert (config.patch_size, config.token_size, config.embed_dim) == (ours.patch_size, ours.token_size, 96)


def test_every_sample_is_clicked_from_nothing_ten_times(make):
    trainer = make()
    assert {trainer.draw_session().first_click for _ in range(50)} == {0}
    sources = []
    forward = trainer.msam.forward
    trainer.network.forward = lambda *arguments: sources.append(arguments[2]) or forward(*arguments)
    target = torch.zeros(2, 1, 16, 32, 32, dtype=torch.int16)
    target[..., :16] = 1
    trainer.train_step({"data": torch.randn(2, 1, 16, 32, 32), "target": target})
    assert sources == [10]
    without = [n for n, p in trainer.msam.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_it_predicts_without_clicks(make):
    with torch.no_grad():
        assert make().network(torch.randn(1, 1, 16, 32, 32)).shape == (1, 3, 16, 32, 32)


def test_fine_tuning_moves_a_tenth_as_fast(make):
    assert make().initial_lr == 8e-4
    assert make(SAMMed3DFinetuneTrainer).optimizer.param_groups[0]["lr"] == 8e-5
