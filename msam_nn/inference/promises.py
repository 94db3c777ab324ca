"""Clicks on the output's own grid: which label a clicked voxel may have, and making it so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry, Voxel
from msam_nn.inference.prompting.clicks import Click


class Promises:
    """Clicks that the segmentation of an image has to keep.

    Arguments:
        clicks: in file voxels.
        label_manager: nnU-Net's, of the data set.

    Raises:
        UserError: if clicks on one voxel leave no label for it.
    """

    def __init__(self, clicks: Sequence[Click], label_manager: LabelManager) -> None:
        manager = label_manager
        classes = manager.foreground_regions if manager.has_regions else manager.foreground_labels
        self._members = [set(c) if isinstance(c, tuple | list) else {c} for c in classes]
        self._labels: dict[Voxel, list[int]] = {}
        by_voxel: dict[Voxel, list[Click]] = {}
        for click in clicks:
            by_voxel.setdefault(click.voxel, []).append(click)
        for voxel, here in by_voxel.items():
            self._labels[voxel] = self._fitting(here, manager)
            if not self._labels[voxel]:
                raise UserError(
                    f"The clicks on voxel {voxel} (z, y, x) contradict each other: no label satisfies all of them."
                )

    def keep(
        self, segmentation: np.ndarray, geometry: ImageGeometry, probabilities: np.ndarray | None = None
    ) -> list[str]:
        """Set the clicked voxels that resampling to the image's grid left wrong; returns a sentence for each.

        Arguments:
            segmentation: nnU-Net's label map in its reader's axis order; changed in place.
            probabilities: ``(outputs, ...)`` of the same grid; changed in place to agree.
        """
        remarks = []
        for voxel, labels in self._labels.items():
            place = geometry.file_to_reader(voxel)
            if segmentation[place] not in labels:
                segmentation[place] = labels[0]
                remarks.append(f"The click on voxel {voxel} (z, y, x) holds at that voxel only.")
                if probabilities is not None:
                    members = [labels[0] in m for m in self._members]
                    background = len(probabilities) - len(members)  # one channel more, unless regions
                    probabilities[(slice(None), *place)] = [*[float(not any(members))] * background, *members]
        return remarks

    def _fitting(self, clicks: Sequence[Click], manager: LabelManager) -> list[int]:
        """Labels that satisfy all clicks on a voxel, the one to choose first."""
        own = [0]
        for click in clicks:
            if click.positive:
                region = self._members[click.class_index]
                last = manager.regions_class_order[click.class_index] if manager.has_regions else min(region)
                own.insert(0, last)
        candidates = dict.fromkeys([*own, *(label for members in self._members for label in sorted(members))])
        return [
            label
            for label in candidates
            if all((label in self._members[click.class_index]) == click.positive for click in clicks)
        ]
