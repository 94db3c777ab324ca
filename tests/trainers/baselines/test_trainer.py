"""Other groups' networks on nnU-Net's machinery: patches that fit, one step, export, prediction."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from msam_nn import registry
from msam_nn.errors import UnsupportedError, UserError
from msam_nn.registry import TRAINERS, load
from msam_nn.trainers.baselines.trainer import BaselineTrainer, round_patch
from msam_nn.trainers.budgets import MIXINS

pytest.importorskip("monai", reason='needs MONAI: pip install "msam_nn[baselines]"')
from monai.networks.nets import UNETR, SwinUNETR  # noqa: E402

from msam_nn.networks.baselines.nnformer import NNFormer, embedding_stride  # noqa: E402
from msam_nn.networks.baselines.transunet import TransUNet, topology  # noqa: E402
from msam_nn.trainers.baselines.nnformer import nnFormerTrainer  # noqa: E402
from msam_nn.trainers.baselines.sam_slices import MedSATrainer, SAM3DTrainer  # noqa: E402
from msam_nn.trainers.baselines.swin_unetr import SwinUNETRTrainer  # noqa: E402
from msam_nn.trainers.baselines.transunet import TransUNetTrainer  # noqa: E402
from msam_nn.trainers.baselines.unetr import UNETRTrainer, without_idle_norms  # noqa: E402

BASELINES = (
    *("UNETRTrainer", "SwinUNETRTrainer", "nnFormerTrainer", "TransUNetTrainer"),
    *("SAM3DTrainer", "SAM3DPretrainedTrainer", "MedSATrainer", "MedSAPretrainedTrainer"),
)


class SmallUNETRTrainer(UNETRTrainer):
    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels):
        sizes = dict(feature_size=4, hidden_size=24, mlp_dim=48, num_heads=2)
        return without_idle_norms(UNETR(in_channels, out_channels, tuple(patch_size), **sizes))


class SmallSwinUNETRTrainer(SwinUNETRTrainer):
    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels):
        return SwinUNETR(in_channels, out_channels, feature_size=12)


class SmallnnFormerTrainer(nnFormerTrainer):
    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels):
        stride = embedding_stride(patch_size)
        return NNFormer(in_channels=in_channels, out_channels=out_channels, stride=stride, dim=48)


class SmallTransUNetTrainer(TransUNetTrainer):
    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels):
        strides, kernels, _ = topology(patch_size, spacing)
        sizes = dict(base_features=4, embed_dim=24, depth=1, num_heads=2)
        return TransUNet(
            in_channels=in_channels, out_channels=out_channels, patch_size=patch_size, strides=strides,
            kernel_sizes=kernels, **sizes,
        )  # fmt: skip


LOWEST_HEADS = {
    SmallnnFormerTrainer: {"heads.2"},
    SmallTransUNetTrainer: {"decoder.seg_layers.0"},
    SAM3DTrainer: {"heads.2.0", "heads.2.3"},
}
"""nnU-Net's deep supervision gives the lowest output no weight; under DDP a tiny one, so that it gets a gradient."""

SMALL = (
    *(SmallUNETRTrainer, SmallSwinUNETRTrainer, SmallnnFormerTrainer, SmallTransUNetTrainer),
    *(SAM3DTrainer, MedSATrainer),
)


def started(trainer_class, plans, dataset_json, name="3d_fullres"):
    plans["continue_training"] = False
    trainer = trainer_class(plans, name, 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    return trainer


@pytest.mark.parametrize(
    ("patch", "multiple", "expected"),
    [
        ((40, 56, 40), (16, 16, 16), (48, 64, 48)),
        ((128, 128, 128), (32, 32, 32), (128, 128, 128)),
        ((10, 100, 90), (32, 32, 32), (32, 96, 96)),
        ((20, 24, 28), (32, 32, 32), (32, 32, 64)),
    ],
)
def test_the_nearest_patch_of_certain_multiples(patch, multiple, expected):
    assert round_patch(patch, multiple) == expected
    assert round_patch(expected, multiple) == expected


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("patch", [(40, 56, 40), (16, 320, 320), (28, 256, 224), (33, 47, 65), (8, 8, 8)])
def test_a_fitted_patch_stays_as_it_is(name, patch):
    trainer = load(TRAINERS[name])
    spacing = (max(patch) / patch[0], 1.0, 1.0)
    fitted = trainer.fit_patch(patch, spacing)
    assert tuple(trainer.fit_patch(fitted, spacing)) == tuple(fitted)


@pytest.mark.parametrize("trainer_class", SMALL)
def test_a_step_with_regions_two_channels_and_an_ignore_label(trainer_class, phantom_plans):
    """All that a data set can have at once; the loss must be finite and reach every weight it should."""
    plans, dataset_json = phantom_plans
    dataset_json["labels"] = {"background": 0, "both": [1, 2], "tumour": 2, "ignore": 3}
    dataset_json["regions_class_order"] = [1, 2]
    dataset_json["channel_names"] = {"0": "CT", "1": "PET"}
    configuration = plans["configurations"]["3d_fullres"]
    configuration["normalization_schemes"] = ["CTNormalization", "ZScoreNormalization"]
    trainer = started(trainer_class, plans, dataset_json)
    patch = tuple(trainer.configuration_manager.patch_size)
    assert patch == tuple(plans["configurations"]["3d_fullres"]["patch_size"])
    torch.manual_seed(0)
    label = torch.randint(0, 4, (2, 1, *patch)).float()
    scales = trainer._get_deep_supervision_scales()
    target = label if scales is None else [label[:, :, :: round(1 / s[0]), :: round(1 / s[1]), :: round(1 / s[2])]
                                           for s in scales]  # fmt: skip
    if trainer.label_manager.has_regions:

        def split(x):
            return torch.cat([(x == 1) | (x == 2), x == 2, x == 3], 1).float()

        target = split(target) if scales is None else [split(t) for t in target]
    trainer.set_deep_supervision_enabled(True)
    losses = [trainer.train_step({"data": torch.randn(2, 2, *patch), "target": target})["loss"] for _ in range(2)]
    assert np.isfinite(losses).all()
    idle = [name for name, p in trainer.network.named_parameters() if p.requires_grad and p.grad is None]
    assert {name.rsplit(".", 1)[0] for name in idle} <= LOWEST_HEADS.get(trainer_class, set())
    assert np.isfinite(trainer.validation_step({"data": torch.randn(2, 2, *patch), "target": target})["loss"])
    trainer.set_deep_supervision_enabled(False)
    with torch.no_grad():
        assert trainer.network(torch.zeros(1, 2, *patch)).shape == (1, 2, *patch)


def test_voxels_a_batch_do_not_grow(phantom_plans):
    plans, dataset_json = phantom_plans
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(batch_size=9, patch_size=[40, 56, 40])
    started(SmallUNETRTrainer, plans, dataset_json)
    assert configuration["patch_size"] == [48, 64, 48] and configuration["batch_size"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("trainer_class", [SmallTransUNetTrainer])
def test_train_validate_continue_and_predict(trainer_class, phantom_plans, nnunet_folders, monkeypatch, tmp_path):
    """nnU-Net's own code from the training to the predicted file, by the trainer's name."""
    from nnunetv2.run.run_training import run_training

    made = type(f"{trainer_class.__name__}_1epoch", (MIXINS["epoch"], trainer_class), {"budget": 1})
    monkeypatch.setitem(registry.TRAINERS, made.__name__, f"{__name__}:{made.__name__}")
    monkeypatch.setattr(registry, "load", lambda target: made)
    monkeypatch.setattr("msam_nn.nnunet_lookup.load", lambda target: made)
    monkeypatch.setattr(made, "configure_optimizers", _few_steps(made.configure_optimizers))
    with contextlib.redirect_stdout(io.StringIO()):
        run_training("900", "3d_fullres", 0, made.__name__, "MSAMPlans", device=torch.device("cpu"))
        run_training("900", "3d_fullres", 0, made.__name__, "MSAMPlans", continue_training=True,
                     device=torch.device("cpu"))  # fmt: skip
    model = next((nnunet_folders["nnUNet_results"] / "Dataset900_TumourPhantom").glob(f"{made.__name__}__*"))
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["mean"]) == {"1", "2"}
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [16, 32, 32]
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    image = nnunet_folders["nnUNet_raw"] / "Dataset900_TumourPhantom" / "imagesTr" / "phantom_000_0000.nii.gz"
    array, properties = predictor.plans_manager.image_reader_writer_class().read_images([str(image)])
    with contextlib.redirect_stdout(io.StringIO()):
        assert predictor.predict_single_npy_array(array, properties).shape == array.shape[1:]


def _few_steps(configure):
    def configure_optimizers(self):
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 1
        return configure(self)

    return configure_optimizers


def test_2d_and_unknown_configurations_are_refused(phantom_plans):
    plans, dataset_json = phantom_plans
    with pytest.raises(UserError, match="no configuration 3d_tiny, only 3d_fullres"):
        started(UNETRTrainer, plans, dataset_json, "3d_tiny")
    plans["configurations"]["3d_fullres"].update(patch_size=[32, 32], spacing=[1, 1])
    with pytest.raises(UnsupportedError, match="UNETRTrainer is 3D"):
        started(UNETRTrainer, plans, dataset_json)


def test_without_monai_one_sentence(phantom_plans, monkeypatch):
    class Needy(BaselineTrainer):
        recipe = UNETRTrainer.recipe

        @classmethod
        def network_for(cls, *args):
            import monai_that_is_not_there  # noqa: F401

    with pytest.raises(UserError, match=r'pip install "msam_nn\[baselines\]"'):
        started(Needy, *phantom_plans)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("UNETRTrainer", 92.49), ("SwinUNETRTrainer", 62.83), ("nnFormerTrainer", 150.5)],
)
def test_as_many_parameters_as_published(name, millions):
    """For one channel and BTCV's 14 classes, as compared in UNETR++ (arXiv 2212.04497, table 1)."""
    network = load(TRAINERS[name]).network_for((96, 96, 96), (1.0, 1.0, 1.0), 1, 14)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.015)
