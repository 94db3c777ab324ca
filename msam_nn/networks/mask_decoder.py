"""From image embedding and prompt tokens to a mask: SAM's two-way transformer and dynamic mask head, in 3D."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.config import MSAMConfig
from msam_nn.networks.layers import MLP, DeepMLP, LayerNorm3d

NUM_MASK_TOKENS = 4
"""One for the single mask, three for ambiguous prompts."""


class CrossAttention(nn.Module):
    """Attention between two sequences at an internal width."""

    def __init__(self, dim: int, num_heads: int, internal_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, internal_dim)
        self.k_proj = nn.Linear(dim, internal_dim)
        self.v_proj = nn.Linear(dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Self-attention of tokens, tokens to image, MLP on tokens, image to tokens; all post-norm."""

    def __init__(self, config: MSAMConfig, *, first: bool) -> None:
        super().__init__()
        dim, heads = config.decoder_dim, config.decoder_heads
        self.first = first
        self.self_attn = CrossAttention(dim, heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = CrossAttention(dim, heads, dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, config.decoder_mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = CrossAttention(dim, heads, dim // 2)

    def forward(self, tokens: Tensor, image: Tensor, token_pos: Tensor, image_pos: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        keys = image + image_pos
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pos, keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(keys, tokens + token_pos, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    def __init__(self, config: MSAMConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.layers = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.decoder_depth))
        self.final_attn_token_to_image = CrossAttention(dim, config.decoder_heads, dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, image_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, n, T)`` and image ``(N, L, T)``, each updated by the other."""
        token_pos = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pos, image_pos)
        update = self.final_attn_token_to_image(tokens + token_pos, image + image_pos, image)
        return self.norm_final_attn(tokens + update), image


class MaskDecoder(nn.Module):
    """Decodes ``N = batch x classes`` passes, each one object.

    The single mask needs one hypernetwork of the four; the others run only when ``multimask`` asks for them.
    """

    def __init__(self, config: MSAMConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm3d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose3d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(DeepMLP(dim, dim, dim // 8) for _ in range(NUM_MASK_TOKENS))
        self.iou_prediction_head = DeepMLP(dim, 256, NUM_MASK_TOKENS)

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
        n, _, d, h, w = image.shape
        mask_tokens = self.mask_tokens.weight + class_embedding[:, None]
        tokens = torch.cat([self.iou_token.weight.expand(n, 1, -1), mask_tokens, sparse], dim=1)
        tokens, keys = self.transformer(tokens, image.flatten(2).transpose(1, 2), image_pos.flatten(0, 2))
        features = self.output_upscaling(keys.transpose(1, 2).unflatten(2, (d, h, w)))
        used = range(1, NUM_MASK_TOKENS) if multimask else range(1)
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in used], dim=1)
        masks = torch.einsum("nmc,ncdhw->nmdhw", weights, features)
        iou = self.iou_prediction_head(tokens[:, 0])
        return masks, iou[:, used.start : used.stop]
