"""Relative position scores of attention in 2D and 3D, in the intended and in SAM-Med3D's released form.

A window has ``S`` positions per axis of which the first ``(d, h, w)`` hold tokens and the rest is padding. Every padded
position has the same key, so attention needs of all of them only one number per query: the logarithm of the sum of
their exponentiated position terms, called ``padding`` here (float32; None where nothing is padded). It is summed over
disjoint boxes of padded positions: the difference "all minus real" would lose every digit, and its gradient, as soon as
the real positions dominate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Tables = tuple[Tensor, Tensor, Tensor]


def gather_table(table: Tensor, queries: int, keys: int) -> Tensor:
    """Rows ``i - j + S - 1`` of a ``(2S - 1, c)`` table for query i and key j: ``(queries, keys, c)``."""
    size = (table.shape[0] + 1) // 2
    i = torch.arange(queries, device=table.device)[:, None]
    j = torch.arange(keys, device=table.device)[None, :]
    return table[i - j + size - 1]


def fit_table(table: Tensor, size: int) -> Tensor:
    """A ``(2S - 1, c)`` table for another ``size``, ``(2 * size - 1, c)``: its middle rows, which keep the distances
    they were made for, or, where it is too short, its rows stretched by linear interpolation."""
    surplus = (len(table) + 1) // 2 - size
    if surplus >= 0:
        return table[surplus : len(table) - surplus]
    return F.interpolate(table.mT[None], size=2 * size - 1, mode="linear")[0].mT


def decomposed_scores(q: Tensor, tables: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Intended form: ``q.Rd[qd, kd] + q.Rh[qh, kh] + q.Rw[qw, kw]``, or without depth in 2D.

    Arguments:
        q: unscaled queries ``(N, heads, d, h, w, c)`` or ``(N, heads, h, w, c)``.
        tables: a table ``(2S - 1, c)`` an axis, S at least the query's extent.

    Returns:
        A term an axis, ``(N, heads, L, d)``, ``(N, heads, L, h)`` and ``(N, heads, L, w)`` with ``L = d*h*w``, and
        ``padding`` ``(N, heads, L)``.
    """
    extents = q.shape[2:-1]
    sizes = [(len(t) + 1) // 2 for t in tables]
    terms = []
    for axis, (table, extent, size) in enumerate(zip(tables, extents, sizes, strict=True), start=2):
        scores = torch.einsum("...xc,xkc->...xk", q.movedim(axis, -2), gather_table(table, extent, size))
        terms.append(scores.movedim(-2, axis).flatten(2, -2))
    real = tuple(scores[..., :extent] for scores, extent in zip(terms, extents, strict=True))
    boxes = []
    for axis, (scores, extent, size) in enumerate(zip(terms, extents, sizes, strict=True)):
        if size > extent:
            # padded on this axis, real on those before, anything on those after
            factors = (*real[:axis], scores[..., extent:], *terms[axis + 1 :])
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
