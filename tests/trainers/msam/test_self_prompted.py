import copy

import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.trainers.msam.self_prompted import MSAMSelfPromptedTrainer


@pytest.fixture
def make(phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))

    def make(**architecture):
        torch.manual_seed(0)
        plans, dataset_json = copy.deepcopy(phantom_plans)
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(architecture)
        trainer = MSAMSelfPromptedTrainer(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return make


def test_the_automatic_prediction_is_prompted_and_counts_in_validation(make):
    trainer = make(mask_prior=1.0)  # so that there are masks to be prompted by
    network, image = trainer.msam.eval(), torch.randn(1, 1, 16, 32, 32)
    torch.nn.init.normal_(network.mask_decoder.output_hypernetworks_mlps[0].layers[-1].weight)  # corrections begin at 0
    trainer.set_deep_supervision_enabled(False)
    with torch.no_grad():
        prompted = network(image)
        stages = network(image, network.automatic_prompts, network.n_auto_stages + 1)
    assert torch.equal(prompted, stages[-1]) and not torch.equal(prompted, stages[0])
    trainer.set_deep_supervision_enabled(True)
    with torch.no_grad():
        outputs = network(image)
    assert torch.equal(outputs[0], prompted) and len(outputs) > 1


@pytest.mark.parametrize("passed", [0.1, 0.9])
def test_sessions_prompt_it_to_the_end_without_practice(make, passed, monkeypatch):
    trainer = make()
    monkeypatch.setattr(type(trainer), "budget_fraction", passed)
    trainer.p_self_prompted = 1.0
    trainer.lr_scheduler.step(passed * trainer.num_epochs)
    assert all(group["lr"] > 0 for group in trainer.optimizer.param_groups)
    target = [torch.randint(0, 3, (2, 1, 16, 32, 32)).short()]
    target += [target[0][..., :: 2**i, :: 2**i, :: 2**i] for i in range(1, len(trainer._get_deep_supervision_scales()))]
    step = trainer.train_step({"data": torch.randn(2, 1, 16, 32, 32), "target": target})
    assert torch.isfinite(torch.as_tensor(step["loss"]))
    assert not trainer.practises and not trainer.promptable.neighbourhood.practised


def test_plans_without_initial_masks_are_refused(make):
    with pytest.raises(UserError, match="have no initial masks"):
        make(initial_masks=False)
