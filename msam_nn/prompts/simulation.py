"""A simulated user clicks where the mask is wrong.

Training clicks on the device, without waiting for it and without shapes that depend on data: uniformly in the error
region, or near the centre of a large error. Practice at the end of a training clicks as the users of evaluations do
(:mod:`msam_nn.prompts.users`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from msam_nn.networks.promptable import PADDING, Points
from msam_nn.prompts.users import VoxelAndLabel, click_of_largest_error

CENTRE_RADII = (1, 2, 4)
"""Radii in voxels of the box filters, one after the other, that tell the middle of an error from its border."""


def sample_error_clicks(error: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Points:
    """One click per sample and class, uniform over the error region (M-SAM, section 3.3).

    Arguments:
        error: ``(B, K, D, H, W)`` bool, voxels that may be clicked.
        target: ``(B, K, D, H, W)`` bool, the true masks: a click on them is positive, elsewhere negative.
        generator: of the tensors' device, for reproducible clicks.

    Returns:
        Points ``(B, K, 1, 3)`` and labels ``(B, K, 1)``; an empty error region gives label -1.
    """
    b, k, d, h, w = error.shape
    per_slice = count_per_row(error.reshape(b * k, d, h * w)).cumsum(1)
    total = per_slice[:, -1]
    draw = torch.rand(b * k, generator=generator, device=error.device, dtype=torch.float64)
    rank = torch.minimum((draw * total).long(), (total - 1).clamp(min=0))
    z = torch.searchsorted(per_slice, rank[:, None], right=True)[:, 0].clamp(max=d - 1)
    rows = torch.arange(b * k, device=error.device)
    before = torch.where(z > 0, per_slice[rows, (z - 1).clamp(min=0)], 0)
    in_slice = error.reshape(b * k, d, h * w)[rows, z].cumsum(1)
    yx = torch.searchsorted(in_slice, (rank - before)[:, None], right=True)[:, 0].clamp(max=h * w - 1)
    positive = target.reshape(b * k, d, h * w)[rows, z, yx]
    labels = torch.where(total > 0, positive.long(), PADDING)
    points = torch.stack([z, yx // w, yx % w], dim=-1)
    return Points(points.reshape(b, k, 1, 3), labels.reshape(b, k, 1))


def central_error_clicks(error: Tensor, target: Tensor) -> Points:
    """One click per sample and class, deep inside a large error: :func:`largest_error_clicks` approximately.

    Box filters of growing size run over the error, missed voxels counting 1 and wrongly included ones -1; the voxel
    whose neighbourhoods hold most error of its own kind is clicked. Beyond the patch everything counts as correct.

    Arguments, returns: like :func:`sample_error_clicks`.
    """
    signed = torch.where(target, 1.0, -1.0) * error
    smooth, score = signed, torch.zeros_like(signed)
    for radius in CENTRE_RADII:
        for axis in (2, 3, 4):
            smooth = _mean_along(smooth, axis, min(radius, (smooth.shape[axis] - 1) // 2))
        score += signed * smooth
    best = score.masked_fill(~error, -torch.inf).flatten(2).argmax(2, keepdim=True)
    labels = torch.where(error.flatten(2).any(2, keepdim=True), target.flatten(2).gather(2, best).long(), PADDING)
    h, w = error.shape[3:]
    z, yx = best // (h * w), best % (h * w)
    return Points(torch.stack([z, yx // w, yx % w], dim=-1), labels)


def largest_error_clicks(error: Tensor, target: Tensor, spacing: Sequence[float] = (1, 1, 1)) -> Points:
    """One click per sample and class in the centre of the largest error, exactly as the evaluation's user clicks
    (:func:`click_of_largest_error`); on the host, which a GPU waits for, with a thread a mask.

    Arguments, returns: like :func:`sample_error_clicks`; spacing: voxel size per axis.
    """
    truth = target.flatten(0, 1).cpu().numpy()
    masks = truth ^ error.flatten(0, 1).cpu().numpy()
    threads = torch.get_num_threads() if error.device.type == "cpu" else len(masks)
    with ThreadPoolExecutor(threads) as pool:
        clicks = pool.map(click_of_largest_error, masks, truth, repeat(spacing))
        points, labels = zip(*(click or ((0, 0, 0), PADDING) for click in clicks), strict=True)
    shape = (*error.shape[:2], 1)
    points, labels = (torch.tensor(part, device=error.device) for part in (points, labels))
    return Points(points.view(*shape, 3), labels.view(shape))


def _mean_along(values: Tensor, axis: int, radius: int) -> Tensor:
    """Means over ``2 radius + 1`` neighbours along an axis, with 0 beyond the ends. On a CPU sums of shifted copies
    take a tenth of the time of torch's average pooling."""
    total = values.clone()
    for step in range(1, radius + 1):
        n = values.shape[axis] - step
        total.narrow(axis, step, n).add_(values.narrow(axis, 0, n))
        total.narrow(axis, 0, n).add_(values.narrow(axis, step, n))
    return total / (2 * radius + 1)


def count_per_row(mask: Tensor) -> Tensor:
    """Number of True values along the last axis, as int64.

    Adds eight voxels at once, as the bytes of one int64: a plain sum of booleans takes a hundred times as long. At most
    255 words are added, so no byte overflows.
    """
    words, rest = divmod(mask.shape[-1], 8)
    if rest:
        return mask.sum(-1)
    flat = mask.contiguous().view(-1)
    if flat.storage_offset() % 8:
        flat = flat.clone()
    group = max(size for size in range(1, 256) if words % size == 0)
    sums = flat.view(torch.uint8).view(torch.int64).view(*mask.shape[:-1], -1, group).sum(-1)
    return sums.view(torch.uint8).sum(-1)


def uniform_click(
    prediction: np.ndarray, target: np.ndarray, generator: torch.Generator | None = None
) -> VoxelAndLabel | None:
    """A click on any wrong voxel of one mask, all of them equally likely; arguments and result as those of
    :mod:`msam_nn.prompts.users`."""
    truth = torch.from_numpy(target)[None, None]
    points, labels = sample_error_clicks(torch.from_numpy(prediction)[None, None] ^ truth, truth, generator)
    label = int(labels)
    return None if label == PADDING else (tuple(int(v) for v in points[0, 0, 0]), label)
