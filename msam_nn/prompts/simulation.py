"""A simulated user clicks where the mask is wrong.

Training clicks on the device, without waiting for it and without shapes that depend on data: uniformly in the error
region, or near the centre of a large error. Evaluation, and practice at the end of a training, click the centre of the
largest error exactly, on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from msam_nn.networks.promptable import PADDING, Points

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


def centre_of_largest_error(error: np.ndarray, spacing: Sequence[float] = (1, 1, 1)) -> tuple[int, int, int] | None:
    """The voxel deepest inside the largest connected component, by physical distance to its border.

    Arguments:
        error: ``(D, H, W)`` bool; beyond the array everything counts as correct.
        spacing: voxel size in mm in array order.

    Returns:
        A voxel index, or None where nothing is wrong. Of equally deep voxels it is the one nearest to the component's
        centre of mass.
    """
    component = _largest_component(error)
    return None if component is None else _deepest_voxel(*component, spacing)


def click_of_largest_error(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float] = (1, 1, 1)
) -> tuple[tuple[int, int, int], int] | None:
    """The click a careful user makes next: centre of the largest missed or wrongly included piece.

    Arguments:
        prediction, target: ``(D, H, W)`` bool masks of one class.
        spacing: voxel size in mm in array order.

    Returns:
        ``(voxel, label)`` with label 1 for a missed and 0 for a wrongly included piece; None for a perfect mask.
    """
    boxes = ndimage.find_objects((prediction ^ target).view(np.uint8))
    if not boxes:
        return None
    prediction, target = prediction[boxes[0]], target[boxes[0]]
    pieces = [(_largest_component(target & ~prediction), 1), (_largest_component(prediction & ~target), 0)]
    pieces = [(component, label) for component, label in pieces if component is not None]
    component, label = max(pieces, key=lambda piece: piece[0][0].sum())
    voxel = _deepest_voxel(*component, spacing)
    return tuple(axis.start + i for axis, i in zip(boxes[0], voxel, strict=True)), label


def uniform_click(
    prediction: np.ndarray, target: np.ndarray, generator: torch.Generator | None = None
) -> tuple[tuple[int, int, int], int] | None:
    """A click anywhere in the error, every voxel equally likely; arguments and result as above."""
    truth = torch.from_numpy(target)[None, None]
    points, labels = sample_error_clicks(torch.from_numpy(prediction)[None, None] ^ truth, truth, generator)
    label = int(labels)
    return None if label == PADDING else (tuple(int(v) for v in points[0, 0, 0]), label)


def _largest_component(mask: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]] | None:
    """The largest face-connected component, cropped to its bounding box, and that box."""
    components, count = ndimage.label(mask)
    if count == 0:
        return None
    largest = int(np.bincount(components.ravel())[1:].argmax()) + 1
    box = ndimage.find_objects(components, max_label=largest)[largest - 1]
    return components[box] == largest, box


def _deepest_voxel(component: np.ndarray, box: tuple[slice, ...], spacing: Sequence[float]) -> tuple[int, int, int]:
    """Of equally deep voxels the one nearest to the component's centre of mass: an error a voxel thin is equally deep
    everywhere."""
    distance = ndimage.distance_transform_edt(np.pad(component, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(distance == distance.max())
    away = ((deepest - ndimage.center_of_mass(component)) * spacing) ** 2
    inside = deepest[away.sum(1).argmin()]
    return tuple(int(start.start + i) for start, i in zip(box, inside, strict=True))
