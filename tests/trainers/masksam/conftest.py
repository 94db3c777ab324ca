"""Plans of a small MaskSAM network on the phantom."""

import copy

import pytest
import torch

from msam_nn.networks.masksam import BUILDER, MaskSAMConfig
from msam_nn.trainers.masksam.trainer import MaskSAMTrainer

SMALL = dict(
    token_size=4, canvas=32, embed_dim=24, depth=4, num_heads=2, window_size=0, global_blocks=(),
    decoder_dim=16, decoder_heads=2, decoder_mlp_dim=32, generator_widths=(16, 8, 8, 8, 8),
)  # fmt: skip


def small_config(**changes) -> MaskSAMConfig:
    kwargs = {"patch_size": (4, 32, 32), "n_queries": 8, "freeze_trunk": False, **SMALL, **changes}
    return MaskSAMConfig(in_channels=1, num_classes=3, **kwargs)


@pytest.fixture
def masksam_plans(phantom_plans):
    """Plans as MaskSAMPlanner writes them, around a small network that trains from scratch; and dataset.json."""
    plans, dataset_json = phantom_plans
    plans["plans_name"] = "MaskSAMPlans"
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(
        batch_size=2,
        patch_size=[4, 32, 32],
        architecture={
            "network_class_name": BUILDER, "arch_kwargs": small_config().to_arch_kwargs(), "_kw_requires_import": []
        },
    )  # fmt: skip
    return plans, dataset_json


@pytest.fixture
def make_trainer(masksam_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))

    def make(dataset_json=None, trainer_class=MaskSAMTrainer, configuration="3d_fullres", **architecture):
        torch.manual_seed(0)
        plans = copy.deepcopy(masksam_plans[0])
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(architecture)
        plans["configurations"]["3d_lowres"] = {"inherits_from": "3d_fullres", "next_stage": "3d_cascade_fullres"}
        plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
        trainer = trainer_class(plans, configuration, 0, dataset_json or masksam_plans[1], torch.device("cpu"))
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return make
