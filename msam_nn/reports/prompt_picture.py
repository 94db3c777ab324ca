"""A picture of prompts on their image: three orthogonal slices through each class's first prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from msam_nn.reports.overlay import DOTS_PER_INCH, PANEL_INCHES, TRUTH_COLOUR, VIEWS, draw_outline

INSIDE_COLOUR, OUTSIDE_COLOUR, BOX_COLOUR = "#009E73", "#D55E00", "#F0E442"
"""Colours of Okabe and Ito, told apart with any kind of colour vision."""

FAINT = 0.35
"""Opacity of prompts that lie in other slices."""


@dataclass(frozen=True)
class PromptedClass:
    """What one row of the picture shows, in voxels of the image.

    Arguments:
        title: written above the row.
        image: ``(z, y, x)``. spacing: mm in array order.
        points: ``(z, y, x, label)`` each. boxes: ``(z0, z1, y0, y1, x0, x1)`` each, upper bounds excluded.
        mask: bool ``(z, y, x)`` to outline, or None.
    """

    title: str
    image: np.ndarray
    spacing: tuple[float, float, float]
    points: Sequence[tuple[int, ...]] = ()
    boxes: Sequence[tuple[int, ...]] = ()
    mask: np.ndarray | None = None

    @property
    def focus(self) -> tuple[int, int, int]:
        """The voxel through which the slices go: first positive point, any point, box, mask, or the image's middle."""
        positive = [p for p in self.points if p[3]] or list(self.points)
        if positive:
            return tuple(positive[0][:3])
        if self.boxes:
            return tuple((lower + upper - 1) // 2 for lower, upper in zip(*[iter(self.boxes[0])] * 2, strict=True))
        if self.mask is not None and self.mask.any():
            return tuple(int(self.mask.sum(axis=others).argmax()) for others in ((1, 2), (0, 2), (0, 1)))
        return tuple(n // 2 for n in self.image.shape)


def save_prompt_picture(path: str | Path, rows: Sequence[PromptedClass]) -> Path:
    """Write one PNG with a row (axial, coronal, sagittal) per class; z runs up in the last two.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError("There is nothing to draw: no prompts were given.")
    size = (3 * PANEL_INCHES, (PANEL_INCHES + 0.3) * len(rows) + 0.4)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="black", layout="constrained")
    *parts, legend = figure.subfigures(
        len(rows) + 1, 1, squeeze=False, height_ratios=[PANEL_INCHES + 0.3] * len(rows) + [0.4]
    )[:, 0]
    for part, row in zip(parts, rows, strict=True):
        part.set_facecolor("black")
        part.suptitle(row.title, color="white", fontsize=10)
        for axis, axes in enumerate(part.subplots(1, 3)):
            _draw_view(axes, row, axis)
    legend.set_facecolor("black")
    _draw_legend(legend)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path


def _draw_view(axes: Axes, row: PromptedClass, axis: int) -> None:
    index = row.focus[axis]
    down, across = [a for a in range(3) if a != axis]
    height, width = (row.image.shape[a] * row.spacing[a] for a in (down, across))
    low, high = np.percentile(row.image, (1, 99))
    axes.imshow(row.image.take(index, axis), cmap="gray", vmin=low, vmax=high, extent=(0, width, height, 0))
    if row.mask is not None:
        draw_outline(axes, row.mask.take(index, axis), (width, height), TRUTH_COLOUR, 1.5)
    for box in row.boxes:
        lower, upper = box[::2], box[1::2]
        corner = (lower[across] * row.spacing[across], lower[down] * row.spacing[down])
        size = [(upper[a] - lower[a]) * row.spacing[a] for a in (across, down)]
        here = lower[axis] <= index < upper[axis]
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=BOX_COLOUR, alpha=1 if here else FAINT))
    for *voxel, label in row.points:
        colour, marker = _style(label)
        x, y = ((voxel[a] + 0.5) * row.spacing[a] for a in (across, down))
        opacity = 1 if voxel[axis] == index else FAINT
        axes.plot(x, y, marker, color=colour, markersize=9, markeredgecolor="white", markeredgewidth=0.8, alpha=opacity)
    axes.set(xlim=(0, width), ylim=(0, height) if axis else (height, 0), aspect="equal")
    axes.axis("off")
    axes.set_title(f"{VIEWS[axis]} {index}", color="#BBBBBB", fontsize=8)


def _style(label: int) -> tuple[str, str]:
    return (INSIDE_COLOUR, "P") if label else (OUTSIDE_COLOUR, "X")


def _draw_legend(figure: Figure) -> None:
    handles = []
    for label, text in ((1, "point inside"), (0, "point outside")):
        colour, marker = _style(label)
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, markeredgecolor="white", label=text))
    handles.append(Patch(fill=False, edgecolor=BOX_COLOUR, label="box"))
    handles.append(Line2D([], [], color=TRUTH_COLOUR, label="mask"))
    handles.append(Line2D([], [], linestyle="", label="faint: in another slice"))
    figure.legend(handles=handles, loc="center", ncol=len(handles), frameon=False, labelcolor="white", fontsize=8)
