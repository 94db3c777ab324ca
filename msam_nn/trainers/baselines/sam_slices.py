"""SAM3D and Medical SAM Adapter as baselines: SAM's encoder on the slices of a volume."""

from __future__ import annotations

from torch import nn

from msam_nn.trainers.baselines.recipes import MED_SA
from msam_nn.trainers.baselines.recipes import SAM3D as SAM3D_RECIPE
from msam_nn.trainers.baselines.trainer import BaselineTrainer
from msam_nn.trainers.frozen_encoder import FrozenEncoderMixin


class SAMSlicesTrainer(BaselineTrainer):
    """What both share. The trunk is a tiny one that trains from scratch, or SAM's own in a subclass with
    :class:`ReleasedTrunk`."""

    multiple = (1, 16, 16)
    trunk = "tiny"


class ReleasedTrunk(FrozenEncoderMixin):
    """SAM's ViT-B with the weights that ``msam convert-weights`` and ``-pretrained_weights`` bring; they stay."""

    trunk = "vit_b"
    trains_encoder = False
    released_weights = "sam_vit_b_01ec64.pth"

    @property
    def what_freezes(self) -> str:
        return f"{type(self).__name__} freezes"


class SAM3DTrainer(SAMSlicesTrainer):
    """SAM3D (arXiv 2309.03493), written from the paper, with deep supervision as there, on a tiny trunk."""

    recipe = SAM3D_RECIPE

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from msam_nn.networks.baselines.sam3d import SAM3D

        return SAM3D(in_channels=in_channels, out_channels=out_channels, patch_size=patch_size, trunk=cls.trunk)

    @classmethod
    def supervised_scales(cls, patch_size, spacing) -> list[list[float]]:
        return [[1.0, 1.0, 1.0], [1.0, 0.5, 0.5], [1.0, 0.25, 0.25]]


class SAM3DPretrainedTrainer(ReleasedTrunk, SAM3DTrainer):
    """SAM3D on SAM's own encoder, frozen."""

    convert_options = " -tr SAM3DPretrainedTrainer"
    way_from_scratch = "take -tr SAM3DTrainer"


class MedSATrainer(SAMSlicesTrainer):
    """Medical SAM Adapter (arXiv 2304.12620) without clicks, written from the paper, on a tiny trunk."""

    recipe = MED_SA

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from msam_nn.networks.baselines.med_sa import MedSA

        return MedSA(in_channels=in_channels, out_channels=out_channels, patch_size=patch_size, trunk=cls.trunk)


class MedSAPretrainedTrainer(ReleasedTrunk, MedSATrainer):
    """Medical SAM Adapter on SAM's own encoder, of which the adapters train."""

    convert_options = " -tr MedSAPretrainedTrainer"
    way_from_scratch = "take -tr MedSATrainer"
