"""UNETR as a baseline."""

from __future__ import annotations

from torch import nn

from msam_nn.trainers.baselines.recipes import UNETR as RECIPE
from msam_nn.trainers.baselines.trainer import BaselineTrainer


class UNETRTrainer(BaselineTrainer):
    """UNETR (arXiv 2103.10504), MONAI's class with the paper's sizes: ViT-B on patches of 16 voxels, 16 features."""

    recipe = RECIPE
    multiple = (16, 16, 16)

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from monai.networks.nets import UNETR

        return without_idle_norms(UNETR(in_channels, out_channels, tuple(patch_size), feature_size=16))


def without_idle_norms(network: nn.Module) -> nn.Module:
    """Take out the norms of cross-attention that MONAI's blocks carry without having any: DDP stops at parameters that
    never get a gradient."""
    for module in network.modules():
        if hasattr(module, "norm_cross_attn") and not module.with_cross_attention:
            module.norm_cross_attn = nn.Identity()
    return network
