"""Which query answers for which target: the assignment of least total cost (Hungarian matching)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Matches(NamedTuple):
    """Pairs of query and target, each ``(K,)``, on the device of the costs.

    slices: index of the slice, ``b * T + t``. queries: of the N. classes: of the C, whose target it is.
    """

    slices: Tensor
    queries: Tensor
    classes: Tensor


def assign(costs: Tensor, *, volumetric: bool = False) -> Matches:
    """Match every target that is present with a query of its own. One copy to the host and one back.

    Arguments:
        costs: ``(B, T, N, C)``, infinite where a class is absent from a slice (then for all queries).
        volumetric: one assignment a patch: costs are summed over the slices that have a class, and a query answers for
            the same class in each of them.

    Raises:
        ValueError: for more classes than queries.
    """
    batch, depth, n_queries, n_classes = costs.shape
    if n_classes > n_queries:
        raise ValueError(f"{n_classes} classes need as many queries at least, and there are {n_queries}.")
    table = costs.float().cpu().numpy()
    present = np.isfinite(table[:, :, 0])
    if volumetric:
        summed = np.where(np.isfinite(table), table, 0).sum(1)
        query_of = np.stack([_query_of(*pair) for pair in zip(summed, present.any(1), strict=True)])
        query_of = np.broadcast_to(query_of[:, None], present.shape)
    else:
        pairs = zip(table.reshape(-1, n_queries, n_classes), present.reshape(-1, n_classes), strict=True)
        query_of = np.stack([_query_of(*pair) for pair in pairs]).reshape(present.shape)
    b, t, classes = np.nonzero(present)
    found = np.stack([b * depth + t, query_of[b, t, classes], classes])
    return Matches(*torch.from_numpy(found).to(costs.device))


def _query_of(costs: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The query ``(C,)`` of every class that is present, for costs ``(N, C)``; 0 for the others."""
    query_of = np.zeros(len(present), dtype=np.int64)
    queries, columns = linear_sum_assignment(costs[:, present])
    query_of[np.flatnonzero(present)[columns]] = queries
    return query_of
