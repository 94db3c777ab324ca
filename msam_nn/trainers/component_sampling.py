"""Foreground patches around a connected component instead of a voxel, so that small lesions train as often as large."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from scipy.ndimage import find_objects

VOXELS_PER_COMPONENT = 32
"""Places a patch around one component can have; nnU-Net draws one of them."""

SPECK_VOXELS = 3
"""Components of fewer voxels, often left by resampling, count only where a class has no larger one."""


class ComponentDataset:
    """An nnU-Net data set as :class:`nnUNetDataLoader` uses it, with other ``class_locations``.

    The loader picks one of a class's stored voxels, nnU-Net's preprocessing stored a random sample of them, so a lesion
    is seen in proportion to its volume. Here every component of a class or region has equally many entries. Locations
    of the annotated area (ignore label) stay as they are.

    Components are found at the first use of a case, from its stored segmentation, and kept: once per worker process,
    a kilobyte per component.
    """

    def __init__(self, dataset: nnUNetBaseDataset) -> None:
        self.dataset = dataset
        self.identifiers = dataset.identifiers
        self.locations: dict[str, dict] = {}

    def load_case(self, identifier: str) -> tuple:
        """Image, segmentation, previous stage's segmentation and properties, as nnU-Net's data sets return them."""
        data, seg, seg_prev, properties = self.dataset.load_case(identifier)
        if identifier not in self.locations:
            self.locations[identifier] = balanced_locations(properties["class_locations"], np.asarray(seg[0]))
        return data, seg, seg_prev, {**properties, "class_locations": self.locations[identifier]}


def balanced_locations(class_locations: dict, seg: np.ndarray) -> dict:
    """Replace the voxels of every class or region that is present by :data:`VOXELS_PER_COMPONENT` of each component.

    Arguments:
        class_locations: nnU-Net's: label or tuple of labels to voxels ``(n, 4)``, channel first.
        seg: label map ``(z, y, x)``.
    """
    balanced, boxes = dict(class_locations), find_objects(seg)
    for key, voxels in class_locations.items():
        labels = np.atleast_1d(key)
        if len(voxels) and -1 not in labels:
            inside = _union([boxes[label - 1] for label in labels if label <= len(boxes) and boxes[label - 1]])
            found = component_voxels(np.isin(seg[inside], labels))
            balanced[key] = found + [0, *(axis.start for axis in inside)]
    return balanced


def _union(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def component_voxels(mask: np.ndarray) -> np.ndarray:
    """:data:`VOXELS_PER_COMPONENT` random voxels of every component (26 neighbours) of a mask ``(z, y, x)``, as rows
    ``(0, z, y, x)``; components with fewer voxels repeat theirs."""
    components = cc3d.connected_components(mask, connectivity=26)
    flat = np.flatnonzero(components)
    ids = components.ravel()[flat]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(flat))
    order = order[np.argsort(ids[order], kind="stable")]
    groups = np.split(flat[order], np.cumsum(np.bincount(ids)[1:])[:-1])
    groups = [group for group in groups if len(group) >= SPECK_VOXELS] or groups
    chosen = np.concatenate([np.resize(group, VOXELS_PER_COMPONENT) for group in groups])
    return np.stack([np.zeros_like(chosen), *np.unravel_index(chosen, mask.shape)], axis=1)
