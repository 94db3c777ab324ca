"""SAM's image encoder under decoders of other groups: slices of a volume in, one feature map a slice out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from msam_nn.networks.encoders.sam import RGB, SAMImageEncoder
from msam_nn.networks.masksam.config import TRUNKS

TOKEN = 16
"""Pixels of a slice per token and axis."""
CANVAS = 1024
"""Pixels of the images that SAM was trained on."""
NECK = 256


def sam_trunk(name: str, patch_size: Sequence[int]) -> SAMImageEncoder:
    """One of :data:`TRUNKS`; ``"tiny"`` knows positions of the patch only, the others those of SAM's images."""
    names = ("embed_dim", "depth", "num_heads", "window_size", "global_blocks")
    geometry = {key: value for key, value in TRUNKS[name].items() if key in names}
    table = max(patch_size[1:]) if name == "tiny" else CANVAS
    return SAMImageEncoder(**geometry, output_dim=NECK, table_size=table // TOKEN)


def grey_slices(image: Tensor) -> Tensor:
    """Every channel of every slice as a grey picture: ``(B, C, T, H, W)`` to ``(B * C * T, 3, H, W)``."""
    return image.flatten(0, 2)[:, None].expand(-1, RGB, -1, -1)
