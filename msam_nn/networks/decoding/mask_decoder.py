"""From image embedding and prompt tokens to a mask: SAM's dynamic mask head on its two-way transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msam_nn.networks.layers.basic import CONV_TRANSPOSE, ChannelNorm, DeepMLP
from msam_nn.networks.layers.two_way import TwoWayTransformer

NUM_MASK_TOKENS = 4
"""One for the single mask, three for ambiguous prompts."""


class MaskDecoder(nn.Module):
    """Decodes ``N = batch x classes`` passes, each one object.

    The single mask needs one hypernetwork of the four; the others run only when ``multimask`` asks for them.
    ``axes`` is 3, or 2 for SAM's own.
    """

    def __init__(self, *, dim: int, depth: int, num_heads: int, mlp_dim: int, axes: int = 3) -> None:
        super().__init__()
        conv = CONV_TRANSPOSE[axes]
        self.transformer = TwoWayTransformer(dim=dim, depth=depth, num_heads=num_heads, mlp_dim=mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, dim)
        self.output_upscaling = nn.Sequential(
            conv(dim, dim // 4, kernel_size=2, stride=2),
            ChannelNorm(dim // 4),
            nn.GELU(),
            conv(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(DeepMLP(dim, dim, dim // 8) for _ in range(NUM_MASK_TOKENS))
        self.iou_prediction_head = DeepMLP(dim, 256, NUM_MASK_TOKENS)

    def attend(
        self, image: Tensor, image_pos: Tensor, sparse: Tensor, class_embedding: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Output tokens ``(N, 1 + 4 + n, T)``, the IoU's and the masks' first, and image ``(N, T, d, h, w)`` after they
        have read each other.

        Arguments:
            image_pos: ``(L, T)`` with ``L = d*h*w``, or one a pass, ``(N, L, T)``.
        """
        mask_tokens = self.mask_tokens.weight.expand(len(image), -1, -1)
        if class_embedding is not None:
            mask_tokens = mask_tokens + class_embedding[:, None]
        tokens = torch.cat([self.iou_token.weight.expand(len(image), 1, -1), mask_tokens, sparse], dim=1)
        tokens, keys = self.transformer(tokens, image.flatten(2).transpose(1, 2), image_pos)
        return tokens, keys.transpose(1, 2).unflatten(2, image.shape[2:])

    def forward(
        self, image: Tensor, image_pos: Tensor, sparse: Tensor, class_embedding: Tensor, *, multimask: bool = False
    ) -> tuple[Tensor, Tensor]:
        """
        Arguments:
            image: fused image and mask embedding ``(N, T, d, h, w)``.
            image_pos: dense positional encoding ``(d, h, w, T)``.
            sparse: prompt tokens ``(N, n, T)``.
            class_embedding: ``(N, T)``, added to the mask tokens.

        Returns:
            Mask logits ``(N, m, 4d, 4h, 4w)`` and predicted IoU ``(N, m)``; m is 1, or 3 with ``multimask``.
        """
        tokens, keys = self.attend(image, image_pos.flatten(0, -2), sparse, class_embedding)
        features = self.output_upscaling(keys)
        used = range(1, NUM_MASK_TOKENS) if multimask else range(1)
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in used], dim=1)
        masks = torch.einsum("nmc,ncdhw->nmdhw", weights, features)
        iou = self.iou_prediction_head(tokens[:, 0])
        return masks, iou[:, used.start : used.stop]
