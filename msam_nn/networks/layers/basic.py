"""Small layers the networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Triple = tuple[int, int, int]

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
"""Convolutions by their number of axes."""

LOGIT = 4.0
"""What one unit of a last convolution adds to a logit: under AdamW a weight moves by a learning rate a step at most."""


MASK_PRIOR = -3.0
"""Lesions are rare: mask logits that start at even odds cost the first hundred steps of training, which then go into
learning to predict nothing (the prior of arXiv 1708.02002, section 4.1)."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channel axis of ``(B, C, ...)``."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class MLP(nn.Module):
    """Two linear layers with an activation between, on the last axis."""

    def __init__(self, dim: int, hidden_dim: int, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


class DeepMLP(nn.Module):
    """Linear layers with ReLU between: the decoder's hypernetworks and its IoU head."""

    def __init__(self, dim: int, hidden_dim: int, output_dim: int, num_layers: int = 3) -> None:
        super().__init__()
        widths = [dim] + [hidden_dim] * (num_layers - 1) + [output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def convolve_channels_last(conv: nn.Conv3d, x: Tensor) -> Tensor:
    """Apply a convolution to ``(B, D, H, W, C)``; the permutation is a view in ``channels_last_3d`` layout."""
    return conv(x.movedim(-1, 1)).movedim(1, -1)


def upsample(masks: Tensor, size: tuple[int, int, int] | torch.Size) -> Tensor:
    """Trilinear interpolation, up or down, of ``(B, K, d, h, w)`` logits to ``size`` voxels, corners not aligned."""
    return F.interpolate(masks, size=tuple(size), mode="trilinear", align_corners=False)


def gaussian_factors(centres: Tensor, sigma: Tensor | Sequence[float], size: Sequence[int]) -> list[Tensor]:
    """Gaussians of height 1 around points ``(..., 3)`` of a grid, as one factor ``(..., extent)`` per axis.

    Arguments:
        sigma: standard deviation in cells of the grid: three numbers, or ``(..., 3)``.
    """
    factors = []
    for axis, extent in enumerate(size):
        distance = torch.arange(extent, device=centres.device) - centres[..., axis, None]
        along = sigma[..., axis, None] if isinstance(sigma, Tensor) else sigma[axis]
        factors.append(torch.exp(-0.5 * (distance / along) ** 2))
    return factors


def recomputed(module: nn.Module) -> Callable:
    """The module as a function that keeps its input alone for the backward pass, and computes the rest again there."""
    return partial(checkpoint, module, use_reentrant=False)
