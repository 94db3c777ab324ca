"""What M-SAM adds to a U-Net: clicks and the last mask, fused at the bottleneck, and a slim way up again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.adapter import ImageHalf, MaskEnhancedAdapter
from msam_nn.networks.decoding.prompt_encoder import PromptEncoder
from msam_nn.networks.layers.basic import DeepMLP, Triple
from msam_nn.networks.layers.channels_last import Conv3d, InstanceNorm
from msam_nn.networks.layers.two_way import TwoWayTransformer

DIM, HEADS, ADAPTER_HEADS, MLP_DIM, DEPTH = 96, 4, 3, 384, 2
"""Width and shape of what works on the bottleneck's tokens: M-SAM's tiny model."""

WIDTHS = (8, 16, 32)
"""Channels of the way up, finest first; the last one counts for all coarser levels."""

MASK_SCALE = 4.0
"""Logit at which the previous mask saturates as an input."""

INPUTS = 3
"""The previous mask, inside clicks, outside clicks."""


class Mix(nn.Module):
    """A level of the way up: what comes from below and the prompts, convolved, plus the U-Net's reduced features,
    convolved. The features' share is the same in every stage, so it is taken once an image."""

    def __init__(self, *, channels: int, width: int, prompt_width: int) -> None:
        super().__init__()
        self.image_half = nn.Sequential(nn.Conv3d(channels, width, 1), Conv3d(width, width, 3, 1, 1, bias=False))
        self.prompts = nn.Conv3d(prompt_width, width, 1, bias=False)
        self.convolution = Conv3d(width, width, 3, 1, 1, bias=False)
        self.norm = InstanceNorm(width)

    def forward(self, below: Tensor, image: Tensor, prompts: Tensor) -> Tensor:
        """``(N, width, ...)`` from tensors of ``N`` passes and from :attr:`image_half` of ``B`` images."""
        y = self.convolution(below + self.prompts(prompts))
        y = (y.unflatten(0, (len(image), -1)) + image[:, None]).flatten(0, 1)
        return F.leaky_relu(self.norm(y), inplace=True)


class FinestMix(nn.Module):
    """The level of single voxels: as :class:`Mix`, but pointwise on what comes from below, and without a norm; in
    channels-last layout. In a window of 128 voxels an edge a convolution takes as long here as all coarser levels."""

    def __init__(self, *, channels: int, width: int, prompt_width: int) -> None:
        super().__init__()
        self.image_half = nn.Conv3d(channels, width, 3, padding=1)
        self.prompts = nn.Conv3d(prompt_width, width, 1, bias=False)

    def forward(self, below: Tensor, image: Tensor, prompts: Tensor) -> Tensor:
        """``(N, width, ...)``, in place of ``below``; arguments are :meth:`Mix.forward`'s."""
        below.unflatten(0, (len(image), -1)).add_(image[:, None])
        below += self.prompts(prompts.contiguous(memory_format=torch.channels_last_3d))
        return F.leaky_relu_(below)


class PromptPath(nn.Module):
    """One refinement of ``N = batch x classes`` masks.

    Arguments:
        patch_size: voxels. strides: the U-Net's, of each stage. channels: of each stage's features, finest first.
        num_classes: masks ``K``.
    """

    def __init__(
        self, *, patch_size: Triple, strides: Sequence[Triple], channels: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        token = tuple(int(v) for v in torch.tensor(strides).prod(0))
        grid = tuple(p // t for p, t in zip(patch_size, token, strict=True))
        widths = [WIDTHS[min(level, len(WIDTHS) - 1)] for level in range(len(channels) - 1)]
        self.neck = nn.Conv3d(channels[-1], DIM, 1)
        down = [INPUTS, *widths[1:], DIM]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv3d(i, o, 3, stride, 1), nn.LeakyReLU())
            for i, o, stride in zip(down[:-1], down[1:], strides[1:], strict=True)
        )
        self.prompt_encoder = PromptEncoder(dim=DIM, patch_size=patch_size, grid_size=grid)
        for unused in (self.prompt_encoder.mask_downscaling, self.prompt_encoder.no_mask_embed):
            unused.requires_grad_(False)
        self.adapter = MaskEnhancedAdapter(
            dim=DIM, num_heads=ADAPTER_HEADS, grid_size=grid, relative_position="decomposed"
        )
        self.adapter.add_norm4.requires_grad_(False)
        self.transformer = TwoWayTransformer(dim=DIM, depth=DEPTH, num_heads=HEADS, mlp_dim=MLP_DIM)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, DIM))
        self.class_embedding = nn.Parameter(torch.zeros(num_classes, DIM))
        up = [DIM, *reversed(widths)]
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(i, o, stride, stride)
            for i, o, stride in zip(up[:-1], up[1:], reversed(strides[1:]), strict=True)
        )
        *coarser, finest = [
            dict(channels=c, width=w, prompt_width=p)
            for c, w, p in zip(reversed(channels[:-1]), reversed(widths), reversed(down[:-1]), strict=True)
        ]
        self.mix = nn.ModuleList([*(Mix(**level) for level in coarser), FinestMix(**finest)])
        self.hypernetwork = DeepMLP(DIM, DIM, widths[0])
        self.out = nn.Conv3d(widths[0], 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def image_half(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What a prompt path takes from the U-Net's features (finest first), once an image: the adapter's two tensors
        and the features' shares of the levels, coarsest first."""
        bottleneck, *finer = reversed(features)
        half = self.adapter.image_half(self.neck(bottleneck).movedim(1, -1))
        return (*half, *(mix.image_half(level) for mix, level in zip(self.mix, finer, strict=True)))

    def forward(
        self,
        image: Sequence[Tensor],
        points: Tensor,
        labels: Tensor,
        masks: Tensor,
        clicks: Tensor,
        classes: Tensor,
    ) -> Tensor:
        """What to add to the mask logits.

        Arguments:
            image: from :meth:`image_half`, for ``B`` images.
            points, labels: ``(N, P, 3)`` voxels of the patch and ``(N, P)``.
            masks: previous logits ``(N, 1, D, H, W)``. clicks: ``(N, 2, D, H, W)``, inside and outside, 0 to 1.
            classes: index of each pass's class ``(N,)``.

        Returns:
            ``(N, 1, D, H, W)``.
        """
        embedding, enhanced, *levels = image
        half = ImageHalf(*(x.repeat_interleave(len(masks) // len(x), 0) for x in (embedding, enhanced)))
        prompts = [torch.cat([torch.tanh(masks / MASK_SCALE), clicks], dim=1)]
        for layer in self.down:
            prompts.append(layer(prompts[-1]))
        fused = self.adapter(half, prompts.pop().movedim(1, -1))
        tokens = torch.cat(
            [
                (self.mask_token + self.class_embedding[classes])[:, None],
                self.prompt_encoder.sparse(points, labels),
            ],
            dim=1,
        )
        position = self.prompt_encoder.dense_position().to(fused.dtype).flatten(0, 2)
        tokens, keys = self.transformer(tokens, fused.flatten(1, 3), position)
        y = keys.transpose(1, 2).unflatten(2, fused.shape[1:4])
        for up, mix, level, prompt in zip(self.up, self.mix, levels, reversed(prompts), strict=True):
            if mix is self.mix[-1]:
                y = y.contiguous(memory_format=torch.channels_last_3d)
            y = mix(up(y), level, prompt)
        head = (1 + self.hypernetwork(tokens[:, 0])) * self.out.weight.flatten()
        return torch.einsum("nc,ncdhw->ndhw", head, y)[:, None] + self.out.bias
