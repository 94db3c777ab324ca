"""3D TransUNet as a baseline."""

from __future__ import annotations

import numpy as np
from torch import nn

from msam_nn.trainers.baselines.recipes import TRANSUNET
from msam_nn.trainers.baselines.trainer import BaselineTrainer


class TransUNetTrainer(BaselineTrainer):
    """TransUNet for volumes (arXiv 2310.07781, encoder only), written from the paper, with nnU-Net's deep supervision.

    Its convolutional part has the strides and kernels that nnU-Net plans for the patch.
    """

    recipe = TRANSUNET

    @classmethod
    def fit_patch(cls, patch_size, spacing) -> tuple[int, ...]:
        from msam_nn.networks.baselines.transunet import topology

        return topology(patch_size, spacing)[2]

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from msam_nn.networks.baselines.transunet import TransUNet, topology

        strides, kernels, _ = topology(patch_size, spacing)
        return TransUNet(
            in_channels=in_channels, out_channels=out_channels, patch_size=patch_size,
            strides=strides, kernel_sizes=kernels,
        )  # fmt: skip

    @classmethod
    def supervised_scales(cls, patch_size, spacing) -> list[list[float]]:
        from msam_nn.networks.baselines.transunet import topology

        return (1 / np.cumprod(topology(patch_size, spacing)[0], axis=0))[:-1].tolist()
