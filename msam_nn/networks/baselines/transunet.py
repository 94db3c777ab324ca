"""3D TransUNet, with a Transformer in the encoder (arXiv 2310.07781, "encoder-only")."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from dynamic_network_architectures.building_blocks.plain_conv_encoder import PlainConvEncoder
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from torch import Tensor, nn

SMALLEST_FEATURE_MAP = 4
MOST_FEATURES = 320


def topology(patch_size: Sequence[int], spacing: Sequence[float]) -> tuple[list, list, tuple[int, ...]]:
    """nnU-Net's strides and kernel sizes per stage for a patch, and the patch enlarged to a multiple of all strides."""
    _, strides, kernels, patch, _ = get_pool_and_conv_props(spacing, patch_size, SMALLEST_FEATURE_MAP, 999999)
    return list(strides), list(kernels), tuple(int(edge) for edge in patch)


class TransUNet(nn.Module):
    """nnU-Net's convolutional U-Net whose bottleneck passes through a Vision Transformer.

    Every voxel of the lowest feature map is a token (the paper's hybrid encoder): a linear embedding, a learned
    position, ViT-B's blocks, and a linear layer back to the width of the decoder.

    Arguments:
        strides, kernel_sizes: one triple a stage, the first stride 1, as nnU-Net plans them.
        patch_size: voxels ``(D, H, W)``, a multiple of the strides' product.
        embed_dim, depth, num_heads: of the Transformer; ViT-B.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        patch_size: Sequence[int],
        strides: Sequence[Sequence[int]],
        kernel_sizes: Sequence[Sequence[int]],
        base_features: int = 32,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
    ) -> None:
        super().__init__()
        features = [min(base_features * 2**stage, MOST_FEATURES) for stage in range(len(strides))]
        self.encoder = PlainConvEncoder(
            in_channels, len(strides), features, nn.Conv3d, kernel_sizes, strides, 2, conv_bias=True,
            norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, return_skips=True,
        )  # fmt: skip
        self.decoder = UNetDecoder(self.encoder, out_channels, 2, deep_supervision=False)
        tokens = prod(edge // prod(axis) for edge, axis in zip(patch_size, zip(*strides, strict=True), strict=True))
        self.embedding = nn.Linear(features[-1], embed_dim)
        self.position = nn.Parameter(torch.zeros(1, tokens, embed_dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        block = nn.TransformerEncoderLayer(
            embed_dim, num_heads, 4 * embed_dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(block, depth, norm=nn.LayerNorm(embed_dim), enable_nested_tensor=False)
        self.back = nn.Linear(embed_dim, features[-1])

    @property
    def deep_supervision(self) -> bool:
        """Whether ``forward`` returns logits of every resolution, the highest first."""
        return self.decoder.deep_supervision

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        self.decoder.deep_supervision = enabled

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``."""
        *skips, lowest = self.encoder(image)
        tokens = self.embedding(lowest.flatten(2).transpose(1, 2)) + self.position
        tokens = self.back(self.transformer(tokens))
        return self.decoder([*skips, tokens.transpose(1, 2).reshape(lowest.shape)])
