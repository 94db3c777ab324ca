"""What a box says of the object that a user drew it around."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add

import torch
from torch import Tensor

from msam_nn.inference.prompting.windows import Box, shifted, slices
from msam_nn.networks.layers.basic import Triple, gaussian_factors

OUTERMOST = 2
"""Voxels on each side of a box of which its object is taken to reach one: nobody draws exactly along a border."""

REACHED = 0.5
"""Logit there, over the best other class, that an object reaches a side with."""

RAISED = 4.0
"""Logits by which a mask is raised for that at most: where it is surer, the side was drawn too far out."""

FADING = 0.3
"""Standard deviation by which this fades, as a share of the box's edges."""


@dataclass(frozen=True)
class DrawnBox:
    """The object lies in the box and reaches its sides.

    A flat box, as viewers draw them, says so of its slice alone: at some distance from the slice the object may be
    wider than the box, by that distance to each side.

    box: upper bounds excluded. through: the axis across the slice of a flat box; None for a box with all its sides.
    """

    box: Box
    through: int | None = None

    @property
    def centre(self) -> Triple:
        return tuple((lower + upper - 1) // 2 for lower, upper in self.box)

    def shifted(self, by: Iterable[int]) -> DrawnBox:
        return DrawnBox(shifted(self.box, by), self.through)

    def section(self) -> DrawnBox:
        """The box with all its sides: of a flat one, what lies in its slice."""
        return DrawnBox(self.box)

    def inside(self, start: Sequence[int], shape: Sequence[int], unit: Sequence[float]) -> Tensor:
        """Bool: in which of ``shape`` voxels from ``start`` on the object may lie.

        Arguments:
            unit: voxels that count as equally far, per axis.
        """
        beyond = [
            _along(torch.maximum(lower - p, p - (upper - 1)).clamp(min=0) / u, axis)
            for axis, (p, (lower, upper), u) in enumerate(
                zip(map(torch.arange, start, map(add, start, shape)), self.box, unit, strict=True)
            )
        ]
        away = 0 if self.through is None else beyond[self.through]
        inside = torch.ones(*shape, dtype=torch.bool)
        for axis in {0, 1, 2} - {self.through}:
            inside &= beyond[axis] <= away
        return inside

    def region(self, shape: Sequence[int], unit: Sequence[float]) -> tuple[slice, slice, slice]:
        """Where :meth:`reaching` raises anything in an image of ``shape`` voxels."""
        margins = [3 * s if axis == self.through else 0 for axis, s in enumerate(self._fading(unit))]
        return tuple(
            slice(max(int(lower - m), 0), min(int(upper + m), n))
            for (lower, upper), m, n in zip(self.box, margins, shape, strict=True)
        )

    def reaching(self, logits: Tensor, unit: Sequence[float]) -> Tensor:
        """Mask logits ``(D, H, W)``, over those of the best other class, with an object that reaches the sides; minus
        infinity where nothing is known.

        Where it does not, the likeliest of the :data:`OUTERMOST` voxels on that side is raised, and all around it by
        what a Gaussian leaves of that: tightness as a prior (Lempitsky et al., ICCV 2009), softened.
        """
        sigma, highest = self._fading(unit), logits + RAISED
        for axis in {0, 1, 2} - {self.through}:
            lower, upper = self.box[axis]
            near = min(OUTERMOST, upper - lower)
            for side in ((lower, lower + near), (upper - near, upper)):
                bounds = [side if a == axis else self.box[a] for a in range(3)]
                values = logits[slices(bounds)]
                best = float(values.max())
                if not -math.inf < best < REACHED:
                    continue
                lacking = min(REACHED - best, RAISED)
                at = torch.tensor(torch.unravel_index(values.argmax(), values.shape))
                at = at + torch.tensor([first for first, _ in bounds])
                z, y, x = gaussian_factors(at, sigma, logits.shape)
                logits = (logits + lacking * z[:, None, None] * y[:, None] * x).minimum(highest)
        return logits

    def _fading(self, unit: Sequence[float]) -> list[float]:
        """Standard deviation in voxels, per axis; across a slice as in the direction of its longer edge."""
        edges = [upper - lower for lower, upper in self.box]
        if self.through is not None:
            longest = max(e / u for axis, (e, u) in enumerate(zip(edges, unit, strict=True)) if axis != self.through)
            edges[self.through] = longest * unit[self.through]
        return [max(FADING * edge, 1.0) for edge in edges]


def _along(values: Tensor, axis: int) -> Tensor:
    """Values of one axis, to be broadcast over the other two."""
    return values.view([-1 if a == axis else 1 for a in range(3)])
