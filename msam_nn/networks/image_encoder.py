"""The 3D ViT image encoder of SAM-Med3D (arXiv 2310.15161), on any token grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msam_nn.networks.attention import Attention3D
from msam_nn.networks.config import MSAMConfig, Triple
from msam_nn.networks.layers import MLP, LayerNorm3d


class PatchEmbed(nn.Module):
    """Cut the image into non-overlapping patches and embed each: ``(B, C, D, H, W)`` to ``(B, d, h, w, E)``."""

    def __init__(self, in_channels: int, embed_dim: int, token_size: Triple) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_channels, embed_dim, kernel_size=token_size, stride=token_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).movedim(1, -1)


class Block(nn.Module):
    """Pre-norm transformer block on ``(B, d, h, w, E)``."""

    def __init__(self, config: MSAMConfig, *, window: Triple) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.attn = Attention3D(
            dim=config.embed_dim,
            num_heads=config.num_heads,
            window=window,
            relative_position=config.relative_position,
            lora_rank=config.lora_rank,
        )
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.mlp = MLP(config.embed_dim, config.mlp_ratio * config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Image ``(B, C, D, H, W)`` to image embedding ``(B, T, d, h, w)``, one vector a token."""

    def __init__(self, config: MSAMConfig) -> None:
        super().__init__()
        grid = config.grid_size
        self.patch_embed = PatchEmbed(config.in_channels, config.embed_dim, config.token_size)
        self.pos_embed = nn.Parameter(torch.empty(1, *grid, config.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        windows = (config.window_size,) * 3
        self.blocks = nn.ModuleList(
            Block(config, window=grid if not config.window_size or i in config.global_blocks else windows)
            for i in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(config.embed_dim, config.decoder_dim, 1, bias=False),
            LayerNorm3d(config.decoder_dim),
            nn.Conv3d(config.decoder_dim, config.decoder_dim, 3, padding=1, bias=False),
            LayerNorm3d(config.decoder_dim),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.movedim(-1, 1))
