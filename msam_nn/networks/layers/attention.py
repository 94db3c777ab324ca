"""Self-attention over a grid of tokens with relative position, global or in windows, padding collapsed to one key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.layers.basic import Triple
from msam_nn.networks.layers.lora import LoRAQKV
from msam_nn.networks.layers.relative_position import decomposed_scores, fit_table, sammed3d_scores


class GridAttention(nn.Module):
    """Multi-head self-attention on ``(B, D, H, W, C)`` or ``(B, H, W, C)`` in windows of ``window`` tokens per axis.

    The published form zero-pads the token grid at the end of each axis to whole windows and lets every token attend
    to the padding, whose key and value are the ``qkv`` bias. Here the padded keys of a window are one extra key with
    the bias as key and value and the log-sum of their position terms as bias: the same result over far fewer keys
    (specification, section 1, "a fast exact form").

    Arguments:
        dim: channels ``C``, a multiple of ``num_heads``.
        window: window size, one number an axis; None for global attention over a grid of any size.
        table_size: tokens per axis that the tables of relative positions are made for, if there is no window. On other
            grids they are cut, so that distances keep their meaning, or stretched.
        relative_position: ``"decomposed"`` or, in 3D, ``"sammed3d"``.
        lora_rank: rank of the low-rank update on query and value; 0 for none.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        window: Sequence[int] | None,
        table_size: Sequence[int] | None = None,
        relative_position: str = "decomposed",
        lora_rank: int = 0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.relative_position = relative_position
        head_dim = dim // num_heads
        self.qkv = LoRAQKV(dim, lora_rank) if lora_rank else nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        sizes = window or table_size
        self.table_names = [f"rel_pos_{axis}" for axis in "dhw"[-len(sizes) :]]
        for name, size in zip(self.table_names, sizes, strict=True):
            self.register_parameter(name, nn.Parameter(torch.zeros(2 * size - 1, head_dim)))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        grid = x.shape[1:-1]
        window = self.window or grid
        groups = list(product(*(window_groups(g, s) for g, s in zip(grid, window, strict=True))))
        if len(groups) == 1:
            return self.proj(self._attend_group(qkv, groups[0], window))
        out = qkv.new_empty(x.shape)
        for group in groups:
            region = (slice(None), *(slice(start, start + n * size) for start, n, size in group))
            out[region] = self._attend_group(qkv[region], group, window)
        return self.proj(out)

    def _attend_group(self, qkv: Tensor, group: Sequence[Triple], window: Sequence[int]) -> Tensor:
        """Attend within the equally large windows of one region ``(B, ..., 3C)``."""
        axes = len(group)
        numbers, sizes = [n for _, n, _ in group], [size for _, _, size in group]
        split = [extent for pair in zip(numbers, sizes, strict=True) for extent in pair]
        windows = qkv.reshape(len(qkv), *split, -1)
        windows = windows.permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), -1)
        out = self._attend(windows.reshape(-1, *sizes, qkv.shape[-1]), window)
        out = out.reshape(len(qkv), *numbers, *sizes, -1)
        out = out.permute(0, *(i + offset for i in range(1, axes + 1) for offset in (0, axes)), -1)
        return out.reshape(*qkv.shape[:-1], -1)

    def _attend(self, qkv: Tensor, window: Sequence[int]) -> Tensor:
        """Attention over the tokens ``(N, ..., 3C)`` of windows."""
        n, *sizes, c = qkv.shape
        head_dim = c // (3 * self.num_heads)
        q, k, v = qkv.reshape(n, -1, 3, self.num_heads, head_dim).permute(2, 0, 3, 1, 4)
        q_bias, k_bias, v_bias = self.qkv.bias.to(qkv.dtype).reshape(3, self.num_heads, head_dim)
        tables = [
            fit_table(getattr(self, name), size).to(qkv.dtype)
            for name, size in zip(self.table_names, window, strict=True)
        ]
        q_grid = q.reshape(n, self.num_heads, *sizes, head_dim)
        if self.relative_position == "sammed3d":
            bias, padding = sammed3d_scores(q_grid, tables, q_bias)
            if padding is not None:
                bias = torch.cat([bias, padding[..., None].to(bias.dtype)], dim=-1)
                k, v = append_key(k, k_bias), append_key(v, v_bias)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            terms, padding = decomposed_scores(q_grid, tables)
            codes = position_codes(*sizes, like=k)
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
        return out.transpose(1, 2).reshape(n, *sizes, c // 3)


def append_key(keys: Tensor, key: Tensor) -> Tensor:
    """Append ``key`` ``(heads, c)`` to all of ``(N, heads, L, c)``."""
    return torch.cat([keys, key[:, None].expand(len(keys), -1, 1, -1)], dim=2)


def position_codes(*extents: int, like: Tensor) -> Tensor:
    """One-hot codes of all positions on each axis, ``(d * h * w, d + h + w)``.

    Their product with a query's position terms is the sum of the terms that belong to a key. Position thus enters
    attention as further channels of queries and keys, and no ``L x L`` bias is ever stored.
    """
    axes = torch.meshgrid(*(torch.arange(size, device=like.device) for size in extents), indexing="ij")
    codes = [F.one_hot(axis.flatten(), size) for axis, size in zip(axes, extents, strict=True)]
    return torch.cat(codes, dim=-1).to(like.dtype)


def window_groups(extent: int, window: int) -> list[Triple]:
    """Windows along one axis as ``(start, number, size)``: the full ones together, then a last, shorter one."""
    full, rest = divmod(extent, window)
    groups = [(0, full, window)] if full else []
    if rest:
        groups.append((full * window, 1, rest))
    return groups
