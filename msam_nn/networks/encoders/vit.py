"""The 3D ViT image encoder of SAM-Med3D (arXiv 2310.15161), on any token grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from msam_nn.networks.layers.attention import GridAttention
from msam_nn.networks.layers.basic import CONV, MLP, ChannelNorm, Triple


class PatchEmbed(nn.Module):
    """Cut the image into non-overlapping patches and embed each: ``(B, C, D, H, W)`` to ``(B, d, h, w, E)``, or the
    same without depth."""

    def __init__(self, in_channels: int, embed_dim: int, token_size: Sequence[int]) -> None:
        super().__init__()
        self.proj = CONV[len(token_size)](in_channels, embed_dim, kernel_size=token_size, stride=token_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).movedim(1, -1)


class Block(nn.Module):
    """Pre-norm transformer block on ``(B, ..., E)``."""

    def __init__(self, attention: GridAttention, mlp_ratio: int) -> None:
        super().__init__()
        dim = attention.proj.in_features
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, mlp_ratio * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def make_neck(embed_dim: int, output_dim: int, axes: int) -> nn.Sequential:
    """From the transformer's width to the decoder's, channels first."""
    conv = CONV[axes]
    return nn.Sequential(
        conv(embed_dim, output_dim, 1, bias=False),
        ChannelNorm(output_dim),
        conv(output_dim, output_dim, 3, padding=1, bias=False),
        ChannelNorm(output_dim),
    )


class ImageEncoder(nn.Module):
    """Image ``(B, C, D, H, W)`` to image embedding ``(B, T, d, h, w)``, one vector a token.

    Arguments:
        grid_size: tokens per axis, ``(d, h, w)``.
        embed_dim: width ``E`` of the transformer.
        window_size: tokens per axis of windowed attention; 0 makes every block global.
        global_blocks: indices of the blocks that attend globally when ``window_size`` is set.
        output_dim: ``T``.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        token_size: Triple,
        grid_size: Triple,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: int,
        window_size: int,
        global_blocks: Sequence[int],
        output_dim: int,
        relative_position: str,
        lora_rank: int,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, embed_dim, token_size)
        self.pos_embed = nn.Parameter(torch.empty(1, *grid_size, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            Block(
                GridAttention(
                    dim=embed_dim,
                    num_heads=num_heads,
                    window=grid_size if not window_size or i in global_blocks else (window_size,) * 3,
                    relative_position=relative_position,
                    lora_rank=lora_rank,
                ),
                mlp_ratio,
            )
            for i in range(depth)
        )
        self.neck = make_neck(embed_dim, output_dim, axes=3)

    def forward(self, image: Tensor, more: Tensor | None = None) -> Tensor:
        """
        Arguments:
            more: ``(B, E, d, h, w)``, added to the embedded patches.
        """
        x = self.patch_embed(image) + self.pos_embed
        if more is not None:
            x = x + more.movedim(1, -1)
        for block in self.blocks:
            x = block(x)
        return self.neck(x.movedim(-1, 1))
