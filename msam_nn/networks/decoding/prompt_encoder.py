"""Points, positions and the previous mask as embeddings (SAM's prompt encoder in 3D)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from msam_nn.networks.layers.basic import CONV, ChannelNorm, Triple, gaussian_factors
from msam_nn.networks.promptable import NEGATIVE, PADDING, POSITIVE

MASK_CELLS_PER_TOKEN = 4
"""The decoder's mask grid has four cells per token and axis (two stride-2 transposed convolutions)."""


class PositionalEncoding(nn.Module):
    """Random Fourier features of coordinates in [0, 1]: with ``v = 2 pi (2c - 1) G`` it is ``cat[sin v, cos v]`` in 2D
    (SAM) and ``cat[sin v, cos v, sin v]`` in 3D (SAM-Med3D)."""

    def __init__(self, dim: int, axes: int = 3) -> None:
        super().__init__()
        self.register_buffer("gaussian_matrix", torch.randn(axes, dim // axes))

    def forward(self, coordinates: Tensor) -> Tensor:
        """``(..., axes)`` to ``(..., dim)``, computed in float32."""
        centred = 2 * coordinates.float() - 1
        v = 2 * math.pi * (centred[..., None] * self.gaussian_matrix.float()).sum(-2)  # a product would be autocast
        sin = v.sin()
        return torch.cat([sin, v.cos(), sin][: len(self.gaussian_matrix)], dim=-1)


def make_mask_downscaling(dim: int, axes: int) -> nn.Sequential:
    """From mask logits ``(N, 1, 4d, 4h, 4w)`` to embeddings ``(N, dim, d, h, w)``, or the same without depth."""
    conv = CONV[axes]
    return nn.Sequential(
        conv(1, 4, kernel_size=2, stride=2),
        ChannelNorm(4),
        nn.GELU(),
        conv(4, 16, kernel_size=2, stride=2),
        ChannelNorm(16),
        nn.GELU(),
        conv(16, dim, kernel_size=1),
    )


class PromptEncoder(nn.Module):
    """Encodes prompts of ``N = batch x classes`` independent decoder passes."""

    def __init__(self, *, dim: int, patch_size: Triple, grid_size: Triple, swap_dense_axes: bool = False) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.grid_size = grid_size
        self.swap_dense_axes = swap_dense_axes
        self.position = PositionalEncoding(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in (NEGATIVE, POSITIVE))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = make_mask_downscaling(dim, axes=3)
        # Part of the released weights; M-SAM starts from an all-zero mask instead.
        self.no_mask_embed = nn.Embedding(1, dim)

    def sparse(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed points, one padding point appended.

        Arguments:
            points: ``(N, P, 3)`` voxel indices of the patch in array order.
            labels: ``(N, P)``: 1 inside, 0 outside, -1 no point.

        Returns:
            ``(N, P + 1, T)``.
        """
        points = torch.cat([points, points.new_zeros(len(points), 1, 3)], dim=1)
        labels = torch.cat([labels, labels.new_full((len(labels), 1), PADDING)], dim=1)
        size = torch.tensor(self.patch_size, device=points.device)
        encoded = self.position((points.float() + 0.5) / size)
        encoded = encoded.to(self.not_a_point_embed.weight.dtype)
        negative, positive = (encoded + e.weight for e in self.point_embeddings)
        label = labels[..., None]
        embedded = torch.where(label == POSITIVE, positive, negative)
        return torch.where(label == PADDING, self.not_a_point_embed.weight, embedded)

    def dense(self, mask: Tensor) -> Tensor:
        """Embed mask logits ``(N, 1, 4d, 4h, 4w)`` as ``(N, T, d, h, w)``."""
        return self.mask_downscaling(mask)

    def dense_position(self) -> Tensor:
        """Positional encoding of the token grid, ``(d, h, w, T)``."""
        device = self.position.gaussian_matrix.device
        axes = [(torch.arange(g, device=device) + 0.5) / g for g in self.grid_size]
        cells = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        if self.swap_dense_axes:
            cells = cells[..., [1, 0, 2]]
        return self.position(cells)


def write_clicks(
    points: Tensor, labels: Tensor, *, token_size: Triple, mask_size: Triple, sigma: float, logit: float
) -> Tensor:
    """Clicks as Gaussian bumps on the mask grid, ``+logit`` for inside and ``-logit`` for outside, added up.

    Arguments:
        points: ``(..., P, 3)`` voxel indices.
        labels: ``(..., P)``; padding writes nothing.
        sigma: standard deviation in mask cells.

    Returns:
        ``(..., 4d, 4h, 4w)``.
    """
    sign = (labels == POSITIVE).float() - (labels == NEGATIVE).float()
    voxels = zip(points.float().unbind(-1), token_size, strict=True)
    centres = torch.stack([(v + 0.5) * MASK_CELLS_PER_TOKEN / edge - 0.5 for v, edge in voxels], dim=-1)
    bumps = gaussian_factors(centres, (sigma,) * 3, mask_size)
    return logit * torch.einsum("...p,...pd,...ph,...pw->...dhw", sign, *bumps)
