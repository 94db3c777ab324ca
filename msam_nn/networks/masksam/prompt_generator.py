"""The prompt generator: masks, boxes and class tokens of every query, from the trunk's features alone
(arXiv 2403.14103, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.masksam.boxes import boxes_of_masks
from msam_nn.networks.masksam.stem import conv_block, up_conv

QUERY_MAP = 16
"""Cells per axis of the small map from which a query's box and token are read."""

BOX_HIDDEN = 256

FINEST_LEVEL = 4
"""Upsamplings from tokens of 16 voxels to voxels. Convolutions there stay within slices, as nnU-Net's often do."""


class Prompts(NamedTuple):
    """What the generator proposes for ``N`` queries of every slice.

    mask_logits: ``(B, N, T, H, W)``.
    boxes: ``(B, N, T, 4)``, ``(x1, y1, x2, y2)`` in units of the slice, 0 to 1.
    tokens: ``(B, N, T, D)``.
    """

    mask_logits: Tensor
    boxes: Tensor
    tokens: Tensor


class FeatureFusion(nn.Module):
    """A U-shaped decoder: from the neck's map up to voxels, taking in the trunk's four maps from deep to shallow.

    Every step but the first doubles the size of slices until they have that of the image; steps that are left over
    stay there.

    Arguments:
        embed_dim: channels of the trunk's maps. neck_dim: of the neck's.
        widths: channels of the five fused maps, coarsest first.
        voxels_per_token: edge of a token in voxels of a slice, a power of two: slices double until they have it.
    """

    def __init__(self, *, embed_dim: int, neck_dim: int, widths: Sequence[int], voxels_per_token: int) -> None:
        super().__init__()
        self.bottom = nn.Sequential(conv_block(neck_dim, widths[0]), conv_block(widths[0], widths[0]))
        self.ups, self.skips, self.fusions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for step, (below, width) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
            level = min(step, int(log2(voxels_per_token)))
            planar = level == FINEST_LEVEL
            self.ups.append(up_conv(below, width) if level == step else nn.Identity())
            skip: list[nn.Module] = []
            for i in range(level):
                skip += [up_conv(width if i else embed_dim, width), conv_block(width, width, planar=planar)]
            self.skips.append(nn.Sequential(*skip))
            from_below = width if level == step else below
            self.fusions.append(conv_block(from_below + width, width, planar=planar))

    def forward(self, embedding: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
        """
        Arguments:
            embedding: the neck's output ``(B, D, T, h, w)``.
            maps: four maps of the trunk ``(B, E, T, h, w)``, shallow to deep.

        Returns:
            Five fused maps, coarsest first; the last is ``(B, widths[-1], T, H, W)``.
        """
        fused = [self.bottom(embedding)]
        for up, skip, fusion, deeper in zip(self.ups, self.skips, self.fusions, reversed(maps), strict=True):
            fused.append(fusion(torch.cat([up(fused[-1]), skip(deeper)], dim=1)))
        return fused


class PromptHeads(nn.Module):
    """Reads the prompts of ``N`` queries from fused maps of ``widths`` channels; ``dim`` is ``D``.

    A query's box and token come from one small map of its own. The box is what two linear layers make of the map,
    averaged with the box of the query's mask if that is not empty.
    """

    def __init__(self, *, widths: Sequence[int], n_queries: int, dim: int) -> None:
        super().__init__()
        self.mask = nn.Conv3d(widths[-1], n_queries, 1)
        self.query_map = nn.Sequential(
            nn.Conv3d(sum(widths), n_queries, 3, padding=1), nn.InstanceNorm3d(n_queries, affine=True), nn.GELU()
        )
        self.token = nn.Linear(QUERY_MAP**2, dim)
        self.box = nn.Sequential(nn.Linear(QUERY_MAP**2, BOX_HIDDEN), nn.GELU(), nn.Linear(BOX_HIDDEN, 4))

    def forward(self, fused: Sequence[Tensor]) -> Prompts:
        mask_logits = self.mask(fused[-1])
        size = (mask_logits.shape[2], QUERY_MAP, QUERY_MAP)
        maps = self.query_map(torch.cat([F.adaptive_avg_pool3d(x, size) for x in fused], dim=1)).flatten(3)
        corner, extent = self.box(maps).float().sigmoid().chunk(2, dim=-1)
        boxes = torch.cat([corner, corner + (1 - corner) * extent], dim=-1)
        of_masks, present = boxes_of_masks(mask_logits.detach() > 0)
        boxes = torch.where(present[..., None], (boxes + of_masks) / 2, boxes)
        return Prompts(mask_logits, boxes, self.token(maps))
