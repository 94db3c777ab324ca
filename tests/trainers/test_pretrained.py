"""Training with a frozen encoder: needs loaded weights, trains LoRA and the rest; or everything."""

import json

import numpy as np
import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from msam_nn.errors import UserError
from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.networks.msam.builder import BUILDER
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.msam.variants import MSAMFullFinetuneTrainer

SMALL = dict(
    patch_size=(16, 16, 16),
    token_size=(8, 8, 8),
    window_size=3,
    global_blocks=(1,),
    embed_dim=24,
    depth=2,
    num_heads=2,
    decoder_dim=24,
    decoder_heads=2,
    decoder_mlp_dim=32,
    adapter_heads=2,
    n_auto_stages=1,
)
DATASET = "Dataset904_Pretrained"
DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 5,
    "file_ending": ".nii",
}


def plans():
    resampling = {f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in ("data", "seg", "probabilities")}
    configuration = {
        "data_identifier": "MSAMPretrainedPlans_3d_fullres",
        "preprocessor_name": "SAMMed3DPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["SAMMed3DCTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        **resampling,
        "architecture": {
            "network_class_name": BUILDER,
            "arch_kwargs": MSAMConfig.sam_med3d(**SMALL).to_arch_kwargs(),
            "_kw_requires_import": [],
        },
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "MSAMPretrainedPlans",
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "continue_training": False,
    }


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Make a trainer whose folders lie in ``tmp_path``."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.setenv("nnUNet_compile", "f")
    folder = tmp_path / "preprocessed" / DATASET / "MSAMPretrainedPlans_3d_fullres"
    folder.mkdir(parents=True)
    (folder / "case.b2nd").touch()

    def make(trainer_class=MSAMTrainer):
        trainer = trainer_class(plans(), "3d_fullres", 0, json.loads(json.dumps(DATASET_JSON)), torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


@pytest.fixture
def weights(tmp_path):
    """A file for -pretrained_weights that fits the plans."""
    network = MSAM(MSAMConfig.sam_med3d(**SMALL))
    torch.save({"network_weights": network.state_dict()}, tmp_path / "init.pth")
    return str(tmp_path / "init.pth")


def step(trainer):
    """One training step on random data; names of the parameters that moved."""
    generator = np.random.default_rng(0)
    batch = {
        "data": torch.from_numpy(generator.normal(size=(2, 1, 16, 16, 16)).astype(np.float32)),
        "target": torch.from_numpy(generator.integers(0, 2, (2, 1, 16, 16, 16)).astype(np.float32)),
    }
    before = {name: value.detach().clone() for name, value in trainer.network.named_parameters()}
    trainer.train_step(batch)
    return {name for name, value in trainer.network.named_parameters() if not torch.equal(value, before[name])}


def test_without_loaded_weights_training_stops(build):
    trainer = build()
    with pytest.raises(UserError, match=r"msam convert-weights .* -pretrained_weights init.pth"):
        trainer.run_training()


def test_loaded_weights_satisfy_it(build, weights):
    trainer = build()
    load_pretrained_weights(trainer.network, weights)
    trainer.insist_on_loaded_weights()


def test_a_continued_training_satisfies_it(build, weights, tmp_path):
    trainer = build()
    load_pretrained_weights(trainer.network, weights)
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    continued = build()
    with pytest.raises(UserError):
        continued.insist_on_loaded_weights()
    continued.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    continued.insist_on_loaded_weights()


def test_encoder_stays_and_lora_and_the_rest_train(build, weights):
    trainer = build()
    load_pretrained_weights(trainer.network, weights)
    moved = step(trainer)
    assert not any(name.startswith("image_encoder.") and ".lora_" not in name for name in moved)
    assert any(".lora_b_" in name for name in moved)
    for part in ("mask_enhanced_adapter.", "prompt_encoder.", "mask_decoder.", "class_embedding"):
        assert any(name.startswith(part) for name in moved)


def test_full_finetuning_trains_the_encoder_from_the_same_file(build, weights):
    trainer = build(MSAMFullFinetuneTrainer)
    load_pretrained_weights(trainer.network, weights)
    saved = torch.load(weights)["network_weights"]
    key = "image_encoder.blocks.0.attn.qkv.weight"
    assert torch.equal(trainer.network.state_dict()[key], saved[key])
    assert not any(".lora_" in name for name in trainer.network.state_dict())
    assert trainer.initial_lr == trainer.optimizer.param_groups[0]["lr"] == 8e-5
    moved = step(trainer)
    assert {key, "image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"} <= moved
    kwargs = trainer.plans_manager.plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert kwargs["lora_rank"] == 0  # what prediction will build


def test_full_finetuning_needs_no_check(build):
    build(MSAMFullFinetuneTrainer).insist_on_loaded_weights()


def test_log_says_what_trains(build, capsys):
    trainer = build()
    trained, total = trainer.msam.parameter_counts()
    assert 0 < trained < total
    assert f"{trained:,} of {total:,} parameters train" in capsys.readouterr().out
