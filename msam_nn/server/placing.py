"""Where a user's prompts lie: rounded, clipped to the image, and on the network's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.placement import box_to_network
from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.windows import Box, bounding_box, shifted, slices


@dataclass(frozen=True)
class Placing:
    """Prompts of an image, in its own voxels."""

    geometry: ImageGeometry
    grid: OutputGrid

    def voxel(self, position: Sequence[float]) -> tuple[int, int, int] | None:
        """The voxel nearest to a position that is at most one voxel outside of the image."""
        voxel = [round(float(v)) for v in position]
        if not all(-1 <= v <= n for v, n in zip(voxel, self.grid.shape, strict=True)):
            return None
        return tuple(min(max(v, 0), n - 1) for v, n in zip(voxel, self.grid.shape, strict=True))

    def clipped(self, box: Sequence[Sequence[float]]) -> Box | None:
        """The part of a box in the image; None if there is none."""
        box = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(rounded(box), self.grid.shape, strict=True))
        return box if all(lower < upper for lower, upper in box) else None

    def network_box(self, box: Box) -> DrawnBox | None:
        """A box on the network's grid; None in the empty margin that nnU-Net crops away."""
        try:
            return box_to_network([bound for axis in box for bound in axis], "voxel", self.geometry, "the box")
        except UserError:
            return None

    def drawing(self, box: Sequence[Sequence[float]], drawn: np.ndarray) -> tuple[Box, np.ndarray] | None:
        """What was drawn (bool of the size of a box, which may reach beyond the image), cut to the smallest box in the
        image that holds all of it; None if nothing of it lies there.

        Raises:
            UserError: if the drawing has not the size of its box.
        """
        whole = rounded(box)
        if drawn.shape != tuple(upper - lower for lower, upper in whole):
            raise UserError(f"The drawing has {drawn.shape} voxels, and its box {whole} has others.")
        box = self.clipped(whole)
        if box is None:
            return None
        drawn = drawn[slices(box, whole)]
        found = bounding_box(drawn)
        if found is None:
            return None
        return shifted(found, [lower for lower, _ in box]), drawn[slices(found)]

    def points_on(self, box: Box, drawn: np.ndarray, clicks: Sequence[Click]) -> list[tuple[int, int, int]]:
        """The drawn voxels (bool of the size of a box) nearest to clicks of the network's grid; the one in the middle
        for no clicks."""
        voxels = np.argwhere(drawn) + [lower for lower, _ in box]
        wanted = [self.geometry.network_to_file(click.voxel) for click in clicks] or [voxels.mean(0)]
        nearest = [voxels[((voxels - voxel) ** 2).sum(1).argmin()] for voxel in wanted]
        return list(dict.fromkeys(tuple(voxel.tolist()) for voxel in nearest))

    def clicks(self, voxels: Sequence[tuple[int, int, int]], class_index: int, positive: bool) -> list[Click]:
        """On the network's grid; none for voxels in the empty margin that nnU-Net crops away."""
        clicks = []
        for voxel in voxels:
            try:
                clicks.append(Click(class_index, self.geometry.file_to_network(voxel), positive))
            except UserError:
                continue
        return clicks


def rounded(box: Sequence[Sequence[float]]) -> Box:
    """With whole numbers, the lower bound first, a voxel at least."""
    ends = [sorted(round(float(end)) for end in axis) for axis in box]
    return tuple((lower, max(upper, lower + 1)) for lower, upper in ends)
