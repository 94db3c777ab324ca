"""nnFormer (arXiv 2109.03201): convolutions between stages, attention in windows, and skip connections by attention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from monai.networks.blocks import MLPBlock
from monai.networks.nets.swin_unetr import BasicLayer, WindowAttention, get_window_size, window_partition
from monai.networks.nets.swin_unetr import window_reverse as join_windows
from torch import Tensor, nn
from torch.nn import functional as F

from msam_nn.networks.layers.basic import ChannelNorm

WINDOWS = (4, 4, 8, 4)
"""Window edge a stage, in tokens; on the published patches the last two reach over the whole feature map (the paper's
global volume-based attention)."""
HEADS = (6, 12, 24, 48)
DEPTH = 2

channel_norm = partial(ChannelNorm, eps=1e-5)


def embedding(in_channels: int, dim: int, stride: Sequence[int]) -> nn.Sequential:
    """The embedding block: four 3^3 convolutions, two of them strided, GELU and layer norm after all but the last."""
    first = [edge // 2 for edge in stride]
    plan = [(in_channels, dim // 2, first), (dim // 2, dim // 2, 1), (dim // 2, dim, 2), (dim, dim, 1)]
    layers = []
    for inner, outer, step in plan:
        layers += [nn.Conv3d(inner, outer, 3, step, 1), nn.GELU(), channel_norm(outer)]
    return nn.Sequential(*layers[:-2])


class SkipAttention(WindowAttention):
    """Attention of the decoder's tokens (queries) to the encoder's (keys and values) in the same window."""

    def __init__(self, dim: int, num_heads: int, window_size: Sequence[int]) -> None:
        super().__init__(dim, num_heads, window_size, qkv_bias=True)

    def forward(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Windows of tokens ``(B, N, C)`` each, to ``(B, N, C)``."""
        batch, n, dim = decoder.shape
        weight, bias = self.qkv.weight.split([dim, 2 * dim]), self.qkv.bias.split([dim, 2 * dim])
        query = F.linear(decoder, weight[0], bias[0])
        key, value = F.linear(encoder, weight[1], bias[1]).chunk(2, dim=-1)
        query, key, value = (x.reshape(batch, n, self.num_heads, -1).transpose(1, 2) for x in (query, key, value))
        table = self.relative_position_bias_table[self.relative_position_index[:n, :n].reshape(-1)]
        position = table.reshape(1, n, n, -1).permute(0, 3, 1, 2).to(query.dtype)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=position)
        return self.proj(attended.transpose(1, 2).reshape(batch, n, dim))


class SkipBlock(nn.Module):
    """A Transformer block whose attention is :class:`SkipAttention`."""

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.window = (window,) * 3
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3)])
        self.attention = SkipAttention(dim, num_heads, self.window)
        self.mlp = MLPBlock(dim, 4 * dim, act="GELU", dropout_mode="swin")

    def forward(self, decoder: Tensor, encoder: Tensor) -> Tensor:
        """Feature maps ``(B, C, D, H, W)`` both."""
        x, skip = decoder.movedim(1, -1), encoder.movedim(1, -1)
        size = x.shape[1:4]
        window = get_window_size(size, self.window)
        padding = [p for edge, w in zip(reversed(size), reversed(window), strict=True) for p in (0, -edge % w)]
        queries, keys = (F.pad(n(t), (0, 0, *padding)) for n, t in zip(self.norms, (x, skip), strict=False))
        padded = queries.shape[:4]
        attended = self.attention(window_partition(queries, window), window_partition(keys, window))
        attended = join_windows(attended, window, padded)
        x = x + attended[:, : size[0], : size[1], : size[2]]
        return (x + self.mlp(self.norms[2](x))).movedim(-1, 1)


def local_attention(dim: int, stage: int, depth: int) -> BasicLayer:
    """Blocks of attention in windows, every second one's windows shifted."""
    return BasicLayer(dim, depth, HEADS[stage], (WINDOWS[stage],) * 3, [0.0] * depth, qkv_bias=True)


class NNFormer(nn.Module):
    """Encoder of three resolutions, a bottleneck, and a decoder that asks the encoder's features by attention.

    Arguments:
        stride: of the embedding, per axis 2 or 4; image edges are multiples of eight times it.
        dim: width of the first stage; it doubles at each of three.
    """

    def __init__(self, *, in_channels: int, out_channels: int, stride: Sequence[int], dim: int = 192) -> None:
        super().__init__()
        self.deep_supervision = False
        stride = tuple(stride)
        widths = [dim * 2**stage for stage in range(len(HEADS))]
        self.embedding = embedding(in_channels, dim, stride)
        self.encoder = nn.ModuleList([local_attention(width, stage, DEPTH) for stage, width in enumerate(widths)])
        self.down = nn.ModuleList(
            [nn.Sequential(channel_norm(w), nn.Conv3d(w, 2 * w, 3, stride=2, padding=1)) for w in widths[:-1]]
        )
        self.up = nn.ModuleList(
            [nn.Sequential(channel_norm(2 * w), nn.ConvTranspose3d(2 * w, w, 2, 2)) for w in widths[:-1]]
        )
        self.skip = nn.ModuleList([SkipBlock(w, HEADS[s], WINDOWS[s]) for s, w in enumerate(widths[:-1])])
        self.decoder = nn.ModuleList([local_attention(w, s, DEPTH - 1) for s, w in enumerate(widths[:-1])])
        self.heads = nn.ModuleList([nn.ConvTranspose3d(w, out_channels, stride, stride) for w in widths[:-1]])

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``; under deep supervision also those at 1/2 and 1/4 of it."""
        x, skips = self.embedding(image), []
        for stage, attention in enumerate(self.encoder):
            x = attention(x)
            if stage < len(self.down):
                skips.append(x)
                x = self.down[stage](x)
        logits: list[Tensor] = []
        for stage in reversed(range(len(skips))):
            x = self.decoder[stage](self.skip[stage](self.up[stage](x), skips[stage]))
            if stage == 0 or self.deep_supervision:
                logits.insert(0, self.heads[stage](x))
        return logits if self.deep_supervision else logits[0]


def embedding_stride(patch_size: Sequence[int]) -> tuple[int, ...]:
    """4 per axis as published for 128^3 and (64, 128, 128), and 2 for an axis at most half as long as the longest.

    >>> embedding_stride((64, 128, 128))
    (2, 4, 4)
    """
    return tuple(2 if 2 * edge <= max(patch_size) else 4 for edge in patch_size)
