"""Self-attention over a token volume with relative position, global or in windows, padding collapsed to one key."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.layers.basic import Triple
from msam_nn.networks.layers.lora import LoRAQKV
from msam_nn.networks.layers.relative_position import decomposed_scores, sammed3d_scores


class Attention3D(nn.Module):
    """Multi-head self-attention on ``(B, D, H, W, C)`` in windows of ``window`` tokens per axis.

    The published form zero-pads the token volume at the end of each axis to whole windows and lets every token attend
    to the padding, whose key and value are the ``qkv`` bias. Here the padded keys of a window are one extra key with
    the bias as key and value and the log-sum of their position terms as bias: the same result over far fewer keys
    (specification, section 1, "a fast exact form").

    Arguments:
        dim: channels ``C``, a multiple of ``num_heads``.
        window: window size; the whole grid for global attention.
        relative_position: ``"decomposed"`` or ``"sammed3d"``.
        lora_rank: rank of the low-rank update on query and value; 0 for none.
    """

    def __init__(
        self, *, dim: int, num_heads: int, window: Triple, relative_position: str = "decomposed", lora_rank: int = 0
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.relative_position = relative_position
        head_dim = dim // num_heads
        self.qkv = LoRAQKV(dim, lora_rank) if lora_rank else nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_d, self.rel_pos_h, self.rel_pos_w = (
            nn.Parameter(torch.zeros(2 * size - 1, head_dim)) for size in window
        )

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        groups = list(product(*(window_groups(g, s) for g, s in zip(x.shape[1:4], self.window, strict=True))))
        if len(groups) == 1:
            return self.proj(self._attend_group(qkv, groups[0]))
        out = qkv.new_empty(x.shape)
        for group in groups:
            region = (slice(None), *(slice(start, start + n * size) for start, n, size in group))
            out[region] = self._attend_group(qkv[region], group)
        return self.proj(out)

    def _attend_group(self, qkv: Tensor, group: tuple[Triple, Triple, Triple]) -> Tensor:
        """Attend within the equally large windows of one region ``(B, D, H, W, 3C)``."""
        (_, nd, d), (_, nh, h), (_, nw, w) = group
        b, c = qkv.shape[0], qkv.shape[-1]
        windows = qkv.reshape(b, nd, d, nh, h, nw, w, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
        out = self._attend(windows.reshape(b * nd * nh * nw, d, h, w, c))
        out = out.reshape(b, nd, nh, nw, d, h, w, c // 3).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return out.reshape(b, nd * d, nh * h, nw * w, c // 3)

    def _attend(self, qkv: Tensor) -> Tensor:
        """Attention over whole windows ``(N, d, h, w, 3C)``."""
        n, d, h, w, c = qkv.shape
        head_dim = c // (3 * self.num_heads)
        q, k, v = qkv.reshape(n, d * h * w, 3, self.num_heads, head_dim).permute(2, 0, 3, 1, 4)
        q_bias, k_bias, v_bias = self.qkv.bias.to(qkv.dtype).reshape(3, self.num_heads, head_dim)
        tables = tuple(t.to(qkv.dtype) for t in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w))
        q_grid = q.reshape(n, self.num_heads, d, h, w, head_dim)
        if self.relative_position == "sammed3d":
            bias, padding = sammed3d_scores(q_grid, tables, q_bias)
            if padding is not None:
                bias = torch.cat([bias, padding[..., None].to(bias.dtype)], dim=-1)
                k, v = append_key(k, k_bias), append_key(v, v_bias)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            terms, padding = decomposed_scores(q_grid, tables)
            codes = position_codes(d, h, w, like=k)
            if padding is not None:
                terms = (*terms, padding[..., None].to(q.dtype))
                k, v = append_key(k, k_bias), append_key(v, v_bias)
                codes = F.pad(codes, (0, 1, 0, 1))
                codes[-1, -1] = 1
            q = torch.cat([q * head_dim**-0.5, *terms], dim=-1)
            k = torch.cat([k, codes.expand(n, self.num_heads, -1, -1)], dim=-1)
            # The fused kernels want values as wide as keys.
            v = F.pad(v, (0, codes.shape[-1]))
            out = F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :head_dim]
        return out.transpose(1, 2).reshape(n, d, h, w, c // 3)


def append_key(keys: Tensor, key: Tensor) -> Tensor:
    """Append ``key`` ``(heads, c)`` to all of ``(N, heads, L, c)``."""
    return torch.cat([keys, key[:, None].expand(len(keys), -1, 1, -1)], dim=2)


def position_codes(d: int, h: int, w: int, *, like: Tensor) -> Tensor:
    """One-hot codes of all positions on each axis, ``(d * h * w, d + h + w)``.

    Their product with a query's three position terms is the sum of the terms that belong to a key. Position thus enters
    attention as further channels of queries and keys, and no ``L x L`` bias is ever stored.
    """
    axes = torch.meshgrid(*(torch.arange(size, device=like.device) for size in (d, h, w)), indexing="ij")
    codes = [F.one_hot(axis.flatten(), size) for axis, size in zip(axes, (d, h, w), strict=True)]
    return torch.cat(codes, dim=-1).to(like.dtype)


def window_groups(extent: int, window: int) -> list[Triple]:
    """Windows along one axis as ``(start, number, size)``: the full ones together, then a last, shorter one."""
    full, rest = divmod(extent, window)
    groups = [(0, full, window)] if full else []
    if rest:
        groups.append((full * window, 1, rest))
    return groups
