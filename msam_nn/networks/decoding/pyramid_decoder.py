"""The mask decoder with high-resolution features: masks as fine as the image, not as its tokens.

SAM 2 (arXiv 2408.00714) adds the encoder's finer features in its decoder's upscaling; here they come from a
convolutional pyramid, or from the U-Net decoder over it. The previous mask and the written clicks enter beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.mask_decoder import MaskDecoder
from msam_nn.networks.encoders.pyramid import level_steps
from msam_nn.networks.layers.basic import DeepMLP, Triple

FINE_CHANNELS = 8
"""Channels of the levels finer than the mask grid, where everything is pointwise, in channels-last layout: half the
time on a CPU."""

PROMPT_SCALES = (5.0, 20.0)
"""Logits at which the two channels of a mask prompt saturate."""


PROMPT_CHANNELS = len(PROMPT_SCALES) + 1
"""And one for the written clicks."""


def squash(masks: Tensor, clicks: Tensor) -> Tensor:
    """Mask logits and written clicks ``(N, 1, ...)`` as bounded channels ``(N, 3, ...)``."""
    return torch.cat([*(torch.tanh(masks / scale) for scale in PROMPT_SCALES), clicks], dim=1)


class PyramidMaskDecoder(MaskDecoder):
    """:class:`MaskDecoder` on a pyramid whose two coarsest levels above the tokens are the decoder's own grids.

    Arguments:
        widths: channels of the pyramid's levels, finest first, the tokens' level last. strides: voxels per cell of each
            level.
        corrects: its masks are added to those before and start at zero; otherwise they replace them, and the decoder
            starts where the one without pyramid is.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        widths: Sequence[int],
        strides: Sequence[Triple],
        corrects: bool,
    ) -> None:
        super().__init__(dim=dim, depth=depth, num_heads=num_heads, mlp_dim=mlp_dim)
        steps = level_steps(strides)
        *fine, quarter, half, _ = widths
        self.skips = nn.ModuleList([nn.Conv3d(half, dim // 4, 1), nn.Conv3d(quarter, dim // 8, 1)])
        self.mix = nn.ModuleList(
            [
                nn.Conv3d(dim // 4, dim // 4, 3, padding=1),
                nn.Conv3d(dim // 8 + PROMPT_CHANNELS, dim // 8, 3, padding=1),
            ]
        )
        self.fine_skips = nn.ModuleList(nn.Conv3d(width, FINE_CHANNELS, 3, padding=1) for width in reversed(fine))
        narrowing = [dim // 8] + [FINE_CHANNELS] * len(fine)
        self.fine_ups = nn.ModuleList(
            nn.ConvTranspose3d(channels, FINE_CHANNELS, step, step)
            for channels, step in zip(narrowing, reversed(steps[: len(fine)]), strict=False)
        )
        self.fine_prompt = nn.Conv3d(PROMPT_CHANNELS, FINE_CHANNELS, 1, bias=False) if fine else None
        self.fine_hypernetwork = DeepMLP(dim, dim, FINE_CHANNELS) if fine else None
        zeroed = [self.fine_hypernetwork.layers[-1]] if fine else []
        zeroed += [self.output_hypernetworks_mlps[0].layers[-1]] if corrects else [*self.skips, *self.mix]
        for module in zeroed:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def image_half(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the decoder takes from the pyramid's levels (finest first), once an image: coarsest first."""
        *fine, quarter, half, _ = levels
        coarse = [skip(level) for skip, level in zip(self.skips, (half, quarter), strict=True)]
        finer = [skip(level) for skip, level in zip(self.fine_skips, reversed(fine), strict=True)]
        return (*coarse, *(x.contiguous(memory_format=torch.channels_last_3d) for x in finer))

    def refine(
        self,
        image: Tensor,
        image_pos: Tensor,
        sparse: Tensor,
        class_embedding: Tensor,
        details: Sequence[Tensor],
        prompt: Tensor,
        fine_prompt: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Decode ``N = B x K`` single masks; the first four arguments are :meth:`MaskDecoder.forward`'s.

        Arguments:
            details: from :meth:`image_half`, for ``B`` images.
            prompt: of :func:`squash`, ``(N, 3, 4d, 4h, 4w)``.
            fine_prompt: the same at the image's resolution; unused where no level is finer than the mask grid.

        Returns:
            Mask logits ``(N, 4d, 4h, 4w)``, and what to add to them at the image's resolution ``(N, D, H, W)``, None
            without finer levels.
        """
        tokens, keys = self.attend(image, image_pos.flatten(0, -2), sparse, class_embedding)
        first, norm, act, second, _ = self.output_upscaling
        y = act(norm(_add(first(keys), details[0])))
        y = y + F.gelu(self.mix[0](y))
        y = act(_add(second(y), details[1]))
        y = y + F.gelu(self.mix[1](torch.cat([y, prompt], dim=1)))
        masks = torch.einsum("nc,ncdhw->ndhw", self.output_hypernetworks_mlps[0](tokens[:, 1]), y)
        if self.fine_hypernetwork is None:
            return masks, None
        for up, detail in zip(self.fine_ups, details[2:], strict=True):
            y = _add(up(y.contiguous(memory_format=torch.channels_last_3d)), detail)
            if detail is details[-1]:
                y += self.fine_prompt(fine_prompt.contiguous(memory_format=torch.channels_last_3d))
            y = F.leaky_relu_(y)
        return masks, torch.einsum("nc,ncdhw->ndhw", self.fine_hypernetwork(tokens[:, 1]), y)


def _add(y: Tensor, detail: Tensor) -> Tensor:
    """Add in place what one image has ``(B, ...)`` to each of its classes ``(B x K, ...)``."""
    y.unflatten(0, (len(detail), -1)).add_(detail[:, None])
    return y
