"""The mask-enhanced adapter (MEA) of M-SAM (arXiv 2403.05912, section 3.2): fuses image and mask embedding.

All tensors here are ``(N, d, h, w, T)``; in that layout every norm is an ordinary layer norm.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.layers.attention import GridAttention
from msam_nn.networks.layers.basic import MLP, Triple, convolve_channels_last

Norm = partial(nn.LayerNorm, eps=1e-6)


class ImageHalf(NamedTuple):
    """What the adapter computes from the image alone, once for all refinement stages."""

    embedding: Tensor
    enhanced: Tensor


class AdapterAttention(GridAttention):
    """Pre-norm attention with residual, ending in an MLP without one."""

    def __init__(self, *, dim: int, num_heads: int, grid_size: Triple, relative_position: str) -> None:
        super().__init__(dim=dim, num_heads=num_heads, window=grid_size, relative_position=relative_position)
        self.norm1, self.norm2 = Norm(dim), Norm(dim)
        self.mlp = MLP(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + super().forward(self.norm1(x))
        return self.mlp(self.norm2(x))


class FeatureEnhancement(nn.Module):
    """The mask feature enhancement block (MFEB): two branches, each with convolutions, attention and an MLP."""

    def __init__(self, dim: int, **attention: Any) -> None:
        super().__init__()
        for branch in ("image", "prompt"):
            self.add_module(f"{branch}_conv1", nn.Conv3d(dim, dim, 3, padding=1))
            self.add_module(f"{branch}_conv2", nn.Conv3d(dim, dim, 1))
            for norm in ("norm", "addnorm1", "addnorm2", "addnorm3"):
                self.add_module(f"{branch}_{norm}", Norm(dim))
            self.add_module(f"{branch}_attention", AdapterAttention(dim=dim, **attention))
            self.add_module(f"{branch}_mlp", MLP(dim, 4 * dim))

    def convolve(self, branch: str, x: Tensor) -> Tensor:
        """``i1`` and ``m1`` of the specification: the part of a branch that reads only its own input."""
        y = convolve_channels_last(getattr(self, f"{branch}_conv1"), x)
        y = F.gelu(getattr(self, f"{branch}_norm")(y))
        y = convolve_channels_last(getattr(self, f"{branch}_conv2"), y)
        return getattr(self, f"{branch}_addnorm1")(y + x)

    def attend(self, branch: str, enhanced: Tensor, both: Tensor) -> Tensor:
        """``i3`` and ``m3``: attention over the enhanced branch plus both inputs, then an MLP."""
        y = getattr(self, f"{branch}_attention")(enhanced + both)
        y = getattr(self, f"{branch}_addnorm2")(y + enhanced)
        return getattr(self, f"{branch}_addnorm3")(getattr(self, f"{branch}_mlp")(y) + y)


class MaskEnhancedAdapter(nn.Module):
    """Replaces SAM's sum of image and mask embedding by two enhanced, mutually attending branches."""

    def __init__(self, *, dim: int, num_heads: int, grid_size: Triple, relative_position: str) -> None:
        super().__init__()
        attention = dict(num_heads=num_heads, grid_size=grid_size, relative_position=relative_position)
        self.enhancement = FeatureEnhancement(dim, **attention)
        self.attention = AdapterAttention(dim=dim, **attention)
        self.add_norm, self.add_norm2, self.add_norm3 = Norm(dim), Norm(dim), Norm(dim)
        # Part of the released weights; nothing reads it.
        self.add_norm4 = Norm(dim)
        self.mlp = MLP(dim, 4 * dim)

    def image_half(self, image: Tensor) -> ImageHalf:
        image = self.add_norm3(image)
        return ImageHalf(image, self.enhancement.convolve("image", image))

    def forward(self, image: ImageHalf, mask: Tensor) -> Tensor:
        mask = self.add_norm2(mask)
        both = image.embedding + mask
        i3 = self.enhancement.attend("image", image.enhanced, both)
        m3 = self.enhancement.attend("prompt", self.enhancement.convolve("prompt", mask), both)
        z = i3 + m3 + both
        o = self.add_norm(self.attention(z) + z)
        return o + self.mlp(o)
