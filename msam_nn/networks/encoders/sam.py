"""SAM's 2D image encoder (arXiv 2304.02643), on slices of any size, with or without MaskSAM's depth adapters.

Usable alone: with ``n_slices=0`` it is SAM's encoder and nothing else, for networks that put a decoder of their own on
its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.encoders.vit import Block, PatchEmbed, make_neck
from msam_nn.networks.layers.attention import GridAttention
from msam_nn.networks.layers.basic import recomputed
from msam_nn.networks.layers.depth_adapter import PARALLEL_SCALE, DepthConvAdapter, DepthEmbedding

RGB = 3


class SAMFeatures(NamedTuple):
    """What the encoder makes of ``M`` slices.

    blocks: output of the blocks asked for, ``(M, E, h, w)`` each, shallow to deep.
    embedding: ``(M, D, h, w)``, the neck's output.
    """

    blocks: tuple[Tensor, ...]
    embedding: Tensor


class AdaptedBlock(Block):
    """A block of SAM with an adapter after its attention and one beside its MLP.

    Both work on whole slices, after windows have been put together again: neighbours in depth are neighbours in the
    volume, in windowed blocks as well as in global ones.
    """

    def __init__(self, attention: GridAttention, mlp_ratio: int, n_slices: int, adapter_ratio: float) -> None:
        super().__init__(attention, mlp_ratio)
        dim = attention.proj.in_features
        self.attn_adapter = DepthConvAdapter(dim, n_slices, adapter_ratio)
        self.mlp_adapter = DepthConvAdapter(dim, n_slices, adapter_ratio)

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attn(self.norm1(x))
        x = x + attended + self.attn_adapter(attended)
        normed = self.norm2(x)
        return x + self.mlp(normed) + PARALLEL_SCALE * self.mlp_adapter(normed)


class SAMImageEncoder(nn.Module):
    """Slices ``(M, 3, H, W)``, H and W multiples of ``token_size``, to :class:`SAMFeatures`.

    SAM saw images of 1024 x 1024 pixels. A smaller slice is taken for the top left corner of one, everywhere: absolute
    positions are the corner of SAM's table, relative positions are the middle of theirs, so that a distance in tokens
    means what it meant to SAM. (SAM's code squeezes the relative tables while the absolute one stays in pixels, so that
    both speak of different distances.) On axes longer than the table both are stretched.

    Arguments:
        embed_dim, depth, num_heads, mlp_ratio: the transformer; ``embed_dim`` is ``E``.
        window_size: tokens per axis of windowed attention; 0 makes every block global.
        global_blocks: indices of the blocks that attend globally when ``window_size`` is set.
        output_dim: ``D``.
        table_size: tokens per axis of the images whose positions the tables hold.
        feature_blocks: indices of the blocks whose output is returned.
        n_slices: slices ``T`` of a volume, consecutive in ``M = B x T``, between which adapters exchange; 0 for none.
        adapter_ratio: width of the adapters' bottleneck as a share of ``E``.
        checkpoint_blocks: recompute each block in the backward pass instead of keeping it.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: int = 4,
        window_size: int = 14,
        global_blocks: Sequence[int] = (2, 5, 8, 11),
        output_dim: int = 256,
        token_size: int = 16,
        table_size: int = 64,
        feature_blocks: Sequence[int] = (),
        n_slices: int = 0,
        adapter_ratio: float = 0.25,
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        self.feature_blocks = tuple(feature_blocks)
        self.checkpoint_blocks = checkpoint_blocks
        self.patch_embed = PatchEmbed(RGB, embed_dim, (token_size,) * 2)
        self.pos_embed = nn.Parameter(torch.empty(1, table_size, table_size, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.depth_embed = DepthEmbedding(n_slices, embed_dim) if n_slices else None
        self.blocks = nn.ModuleList()
        for i in range(depth):
            windowed = window_size and i not in global_blocks
            attention = GridAttention(
                dim=embed_dim,
                num_heads=num_heads,
                window=(window_size,) * 2 if windowed else None,
                table_size=(table_size,) * 2,
            )
            if n_slices:
                self.blocks.append(AdaptedBlock(attention, mlp_ratio, n_slices, adapter_ratio))
            else:
                self.blocks.append(Block(attention, mlp_ratio))
        self.neck = make_neck(embed_dim, output_dim, axes=2)

    def forward(self, slices: Tensor) -> SAMFeatures:
        x = self.patch_embed(slices)
        x = x + fit_positions(self.pos_embed, *x.shape[1:3])
        if self.depth_embed is not None:
            x = self.depth_embed(x)
        kept = {}
        for i, block in enumerate(self.blocks):
            x = (recomputed(block) if self.checkpoint_blocks and self.training else block)(x)
            if i in self.feature_blocks:
                kept[i] = x.movedim(-1, 1)
        return SAMFeatures(tuple(kept[i] for i in self.feature_blocks), self.neck(x.movedim(-1, 1)))


def fit_positions(table: Tensor, h: int, w: int) -> Tensor:
    """The top left ``(1, h, w, E)`` of a table ``(1, S, S, E)``, stretched first along axes where it is too short."""
    size = (max(h, table.shape[1]), max(w, table.shape[2]))
    if size != table.shape[1:3]:
        stretched = F.interpolate(table.movedim(-1, 1), size=size, mode="bicubic", align_corners=False)
        table = stretched.movedim(1, -1)
    return table[:, :h, :w]
