"""Relative position scores of 3D attention, in the intended and in SAM-Med3D's released form.

A window has ``S`` positions per axis of which the first ``(d, h, w)`` hold tokens and the rest is padding. Every padded
position has the same key, so attention needs of all of them only one number per query: the logarithm of the sum of
their exponentiated position terms, called ``padding`` here (float32; None where nothing is padded). It is summed over
disjoint boxes of padded positions: the difference "all minus real" would lose every digit, and its gradient, as soon as
the real positions dominate.
"""

from __future__ import annotations

import torch
from torch import Tensor

Tables = tuple[Tensor, Tensor, Tensor]


def gather_table(table: Tensor, queries: int, keys: int) -> Tensor:
    """Rows ``i - j + S - 1`` of a ``(2S - 1, c)`` table for query i and key j: ``(queries, keys, c)``."""
    size = (table.shape[0] + 1) // 2
    i = torch.arange(queries, device=table.device)[:, None]
    j = torch.arange(keys, device=table.device)[None, :]
    return table[i - j + size - 1]


def decomposed_scores(q: Tensor, tables: Tables) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor | None]:
    """Intended form: ``q.Rd[qd, kd] + q.Rh[qh, kh] + q.Rw[qw, kw]``.

    Arguments:
        q: unscaled queries ``(N, heads, d, h, w, c)``.
        tables: three tables ``(2S - 1, c)``, S per axis at least the query's extent.

    Returns:
        The three terms, ``(N, heads, L, d)``, ``(N, heads, L, h)`` and ``(N, heads, L, w)`` with ``L = d*h*w``, and
        ``padding`` ``(N, heads, L)``.
    """
    d, h, w = extents = q.shape[2:5]
    sizes = [(len(t) + 1) // 2 for t in tables]
    rd = torch.einsum("nadhwc,dkc->nadhwk", q, gather_table(tables[0], d, sizes[0])).flatten(2, 4)
    rh = torch.einsum("nadhwc,hkc->nadhwk", q, gather_table(tables[1], h, sizes[1])).flatten(2, 4)
    rw = torch.einsum("nadhwc,wkc->nadhwk", q, gather_table(tables[2], w, sizes[2])).flatten(2, 4)
    real = (rd[..., :d], rh[..., :h], rw[..., :w])
    boxes = []
    for axis, (scores, extent, size) in enumerate(zip((rd, rh, rw), extents, sizes, strict=True)):
        if size > extent:
            # padded on this axis, real on those before, anything on those after
            factors = (*real[:axis], scores[..., extent:], *(rd, rh, rw)[axis + 1 :])
            boxes.append(sum(f.float().logsumexp(-1) for f in factors))
    return real, torch.stack(boxes, -1).logsumexp(-1) if boxes else None


def sammed3d_scores(q: Tensor, tables: Tables, q_padding: Tensor) -> tuple[Tensor, Tensor | None]:
    """Released form, a broadcasting slip the SAM-Med3D weights were trained with (specification, section 1.4):
    ``q(qd,qh,qw).Rd[qd,kw] + q(qd,qh,kd).Rh[qh,kw] + q(qd,qh,kh).Rw[kh,kw]``.

    Arguments:
        q: unscaled queries ``(N, heads, d, h, w, c)``.
        tables: three tables ``(2S - 1, c)`` of the same S, which is at least the query's extent on every axis.
        q_padding: the query of a padded position, ``(heads, c)``.

    Returns:
        The sum, ``(N, heads, L, L)`` with ``L = d*h*w``, and ``padding`` ``(N, heads, L)``.
    """
    n, a, d, h, w, c = q.shape
    size = (len(tables[0]) + 1) // 2
    row = torch.cat([q, q_padding[:, None, None, None].expand(n, a, d, h, size - w, c)], dim=4) if size > w else q
    by_w = torch.einsum("nadhwc,dkc->nadhwk", q, gather_table(tables[0], d, size))
    by_d = torch.einsum("nadhxc,hkc->nadhxk", row, gather_table(tables[1], h, size))
    by_h = torch.einsum("nadhxc,xkc->nadhxk", row, gather_table(tables[2], size, size))
    # The large sum is last, so that only one pass runs over all pairs.
    by_dw = by_w[..., None, :w] + by_d[:, :, :, :, None, :d, :w]
    real = (by_dw[..., None, :] + by_h[:, :, :, :, None, None, :h, :w]).reshape(n, a, d * h * w, d * h * w)
    if (d, h, w) == (size, size, size):
        return real, None
    by_w, by_d, by_h = by_w.float(), by_d.float(), by_h.float()
    boxes = []
    all_h = by_h.logsumexp(-2)
    if size > w:
        boxes.append(by_d[..., w:].logsumexp(-2) + all_h[..., w:])
    if size > d:
        boxes.append(by_d[..., d:, :w].logsumexp(-2) + all_h[..., :w])
    if size > h:
        boxes.append(by_d[..., :d, :w].logsumexp(-2) + by_h[..., h:, :w].logsumexp(-2))
    # boxes[0] holds the padded kw, the others the real ones
    keys = [by_w[..., w:]] * (size > w) + [by_w[..., :w]] * ((size > d) + (size > h))
    terms = [key + box[:, :, :, :, None] for key, box in zip(keys, boxes, strict=True)]
    return real, torch.cat(terms, -1).logsumexp(-1).flatten(2)
