"""Slow, obvious attention, written from the specification: what the fast forms are held against.

Windows are really padded with zeros after ``norm1``, every padded key is really attended to, and relative position is
looked up with explicit indices. ``broadcast_scores`` is the same sum the way published code computes it, for the
benchmarks; a test holds it against the explicit indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from msam_nn.networks.layers.attention import GridAttention

Tables = tuple[Tensor, Tensor, Tensor]
ScoreFunction = Callable[[Tensor, Tables, str], Tensor]


def explicit_scores(q: Tensor, tables: Tables, form: str) -> Tensor:
    """Position terms ``(N, heads, L, L)`` of whole windows ``(N, heads, S_d, S_h, S_w, c)`` of unscaled queries.

    Entry (query, key) is written out once, as in the specification, for index vectors that run over all pairs.
    """
    extents = q.shape[2:5]
    positions = torch.tensor(list(product(*(range(e) for e in extents))), device=q.device)
    qd, qh, qw = positions[:, None].unbind(-1)
    kd, kh, kw = positions[None, :].unbind(-1)

    def entry(axis: int, i: Tensor, j: Tensor) -> Tensor:
        return tables[axis][i - j + (len(tables[axis]) + 1) // 2 - 1]

    def query(d: Tensor, h: Tensor, w: Tensor) -> Tensor:
        d, h, w = torch.broadcast_tensors(d, h, w)
        return q[:, :, d, h, w]

    if form == "decomposed":
        own = query(qd, qh, qw)
        return (own * (entry(0, qd, kd) + entry(1, qh, kh) + entry(2, qw, kw))).sum(-1)
    if form == "sammed3d":
        return (
            (query(qd, qh, qw) * entry(0, qd, kw)).sum(-1)
            + (query(qd, qh, kd) * entry(1, qh, kw)).sum(-1)
            + (query(qd, qh, kh) * entry(2, kh, kw)).sum(-1)
        )
    raise ValueError(form)


def broadcast_scores(q: Tensor, tables: Tables, form: str) -> Tensor:
    """The same as :func:`explicit_scores` with three small products and a broadcast sum."""
    n, heads, *extents, _ = q.shape
    rows = []
    for table, extent in zip(tables, extents, strict=True):
        i = torch.arange(extent, device=q.device)
        rows.append(table[i[:, None] - i[None, :] + (len(table) + 1) // 2 - 1])
    rd = torch.einsum("nadhwc,dkc->nadhwk", q, rows[0])
    rh = torch.einsum("nadhwc,hkc->nadhwk", q, rows[1])
    rw = torch.einsum("nadhwc,wkc->nadhwk", q, rows[2])
    if form == "decomposed":
        scores = rd[..., :, None, None] + rh[..., None, :, None] + rw[..., None, None, :]
    else:
        scores = rd[..., None, None, :] + rh[:, :, :, :, None, :, None, :] + rw[:, :, :, :, None, None, :, :]
    length = extents[0] * extents[1] * extents[2]
    return scores.reshape(n, heads, length, length)


def padded_attention(module: GridAttention, x: Tensor, scores: ScoreFunction = explicit_scores) -> Tensor:
    """``module(x)`` for ``(B, D, H, W, C)``: zero-pad to whole windows, attend in each over all positions, cut back."""
    b, *grid, c = x.shape
    window = module.window
    whole = [-(-g // s) * s for g, s in zip(grid, window, strict=True)]
    padding = [amount for g, p in zip(reversed(grid), reversed(whole), strict=True) for amount in (0, p - g)]
    x = F.pad(x, (0, 0, *padding))
    nd, nh, nw = (p // s for p, s in zip(whole, window, strict=True))
    windows = x.reshape(b, nd, window[0], nh, window[1], nw, window[2], c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    qkv = module.qkv(windows.reshape(-1, *window, c))
    n, head_dim = len(qkv), c // module.num_heads
    q, k, v = qkv.reshape(n, *window, 3, module.num_heads, head_dim).permute(4, 0, 5, 1, 2, 3, 6)
    tables = (module.rel_pos_d, module.rel_pos_h, module.rel_pos_w)
    length = window[0] * window[1] * window[2]
    logits = (q.reshape(n, -1, length, head_dim) * head_dim**-0.5) @ k.reshape(n, -1, length, head_dim).mT
    logits = logits + scores(q, tables, module.relative_position)
    out = logits.softmax(-1) @ v.reshape(n, -1, length, head_dim)
    out = module.proj(out.transpose(1, 2).reshape(n, *window, c))
    out = out.reshape(b, nd, nh, nw, *window, c).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, *whole, c)
    return out[:, : grid[0], : grid[1], : grid[2]]


@contextmanager
def attending_by(attention: Callable[[GridAttention, Tensor], Tensor]) -> Iterator[None]:
    """While open, every :class:`GridAttention` computes ``attention(module, x)``."""
    fast = GridAttention.forward
    GridAttention.forward = attention
    try:
        yield
    finally:
        GridAttention.forward = fast


def padded_windows(scores: ScoreFunction = broadcast_scores) -> AbstractContextManager[None]:
    """While open, every :class:`GridAttention` computes the padded form."""
    return attending_by(lambda module, x: padded_attention(module, x, scores))


def argwhere_clicks(error: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Published click simulation: list every wrong voxel of every sample, draw one.

    Arguments:
        error, target: bool ``(B, K, D, H, W)``.

    Returns:
        points ``(B, K, 1, 3)`` and labels ``(B, K, 1)``, -1 where nothing is wrong.
    """
    points = torch.zeros(*error.shape[:2], 1, 3, dtype=torch.long)
    labels = torch.full((*error.shape[:2], 1), -1)
    for b, k in product(range(error.shape[0]), range(error.shape[1])):
        wrong = torch.argwhere(error[b, k])
        if len(wrong):
            points[b, k, 0] = wrong[torch.randint(len(wrong), ())]
            labels[b, k, 0] = int(target[b, k][tuple(points[b, k, 0])])
    return points, labels
