"""nnFormer as a baseline."""

from __future__ import annotations

from torch import nn

from msam_nn.trainers.baselines.recipes import NNFORMER
from msam_nn.trainers.baselines.trainer import BaselineTrainer, round_patch


class nnFormerTrainer(BaselineTrainer):  # noqa: N801
    """nnFormer (arXiv 2109.03201), written from the paper, with deep supervision as there."""

    recipe = NNFORMER

    @classmethod
    def fit_patch(cls, patch_size, spacing) -> tuple[int, ...]:
        from msam_nn.networks.baselines.nnformer import embedding_stride

        return round_patch(patch_size, [8 * stride for stride in embedding_stride(patch_size)])

    @classmethod
    def network_for(cls, patch_size, spacing, in_channels, out_channels) -> nn.Module:
        from msam_nn.networks.baselines.nnformer import NNFormer, embedding_stride

        return NNFormer(in_channels=in_channels, out_channels=out_channels, stride=embedding_stride(patch_size))

    @classmethod
    def supervised_scales(cls, patch_size, spacing) -> list[list[float]]:
        return [[1.0] * 3, [0.5] * 3, [0.25] * 3]
