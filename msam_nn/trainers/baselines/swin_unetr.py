"""Swin UNETR as a baseline."""

from __future__ import annotations

from torch import nn

from msam_nn.trainers.baselines.recipes import SWIN_UNETR
from msam_nn.trainers.baselines.trainer import BaselineTrainer


class SwinUNETRTrainer(BaselineTrainer):
    """Swin UNETR (arXiv 2201.01266), MONAI's class with the paper's 48 features."""

    recipe = SWIN_UNETR
    multiple = (32, 32, 32)

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from monai.networks.nets import SwinUNETR

        return SwinUNETR(in_channels, out_channels, feature_size=48)
