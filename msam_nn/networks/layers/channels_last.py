"""Convolutions and norms that stay in ``channels_last_3d`` layout on a CPU, where oneDNN's convolutions take half as
long. On other devices they are torch's own, and on all of them they compute the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """Convolution that brings its input to the layout. One of a single channel is slower than one of two."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        weight = self.weight
        if self.in_channels == 1:
            x, weight = (F.pad(t, (0, 0, 0, 0, 0, 0, 0, 1)) for t in (x, weight))
        return self._conv_forward(x.contiguous(memory_format=torch.channels_last_3d), weight, self.bias)


class InstanceNorm(nn.InstanceNorm3d):
    """Instance norm with learned scale and shift that keeps the layout; torch's own copies to the other one and back.

    Batch norm of one image is instance norm, and has a kernel for each layout.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        images = [
            F.batch_norm(image, None, None, self.weight, self.bias, training=True, eps=self.eps) for image in x.split(1)
        ]
        return images[0] if len(images) == 1 else torch.cat(images)
