"""A picture to judge segmentations by eye: truth and predictions outlined on three orthogonal slices a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from msam_nn.metrics.scores import dice

TRUTH_COLOUR = "#56B4E9"
PREDICTION_COLOURS = ("#E69F00", "#CC79A7", "#F0E442")
CLASS_COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
"""Colours of Okabe and Ito, told apart with any kind of colour vision."""

VIEWS = ("axial", "coronal", "sagittal")
DOTS_PER_INCH = 130
PANEL_INCHES = 3.0
GAP_INCHES = 0.08
TITLE_INCHES = 0.34
LEGEND_INCHES = 0.42
LEGEND_COLUMNS = 6


@dataclass(frozen=True)
class OverlayCase:
    """What one row of the picture shows.

    Arguments:
        name: written above the row.
        image: ``(z, y, x)``, any unit.
        truth: ``(z, y, x)`` label map; every value but 0 is outlined.
        predictions: name in the legend -> label map like ``truth``; three at most.
        spacing: mm in array order.
        clicks: ``(n, 3)`` voxel indices in array order; drawn in the slices at most one voxel away.
        click_labels: ``(n,)``, 1 for a click on missed foreground, 0 for a click on false foreground.
        window: grey values shown as black and white; None takes the image's 1st and 99th percentile.
        classes: name in the legend -> label values of ``truth``, outlined in a colour each (again from the first
            colour after six); None outlines every value in one colour.

    Raises:
        ValueError: if the shapes differ, or there are more than three predictions.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    spacing: tuple[float, float, float]
    clicks: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), int))
    click_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    window: tuple[float, float] | None = None
    classes: Mapping[str, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        shapes = {self.image.shape, self.truth.shape, *(p.shape for p in self.predictions.values())}
        if len(shapes) > 1 or self.image.ndim != 3:
            raise ValueError(f"{self.name}: image, truth and predictions need one shape (z, y, x), not {shapes}.")
        if len(self.predictions) > len(PREDICTION_COLOURS):
            raise ValueError(f"{self.name}: {len(self.predictions)} predictions, {len(PREDICTION_COLOURS)} colours.")
        if len(self.clicks) != len(self.click_labels):
            raise ValueError(f"{self.name}: {len(self.clicks)} clicks but {len(self.click_labels)} click labels.")


def chosen_slices(case: OverlayCase) -> tuple[int, int, int]:
    """Index along z, y and x with the largest truth area; without truth, of the predictions; else the middle."""
    anything_predicted = np.any([p > 0 for p in case.predictions.values()], axis=0)
    for mask in (case.truth > 0, np.broadcast_to(anything_predicted, case.truth.shape)):
        if mask.any():
            return tuple(int(mask.sum(axis=others).argmax()) for others in ((1, 2), (0, 2), (0, 1)))
    return tuple(n // 2 for n in case.truth.shape)


def save_overlay(path: str | Path, cases: Sequence[OverlayCase]) -> Path:
    """Write one PNG with a row (axial, coronal, sagittal) per case.

    Axes are in mm, so proportions are right. Axial rows run down the picture (anterior on top for a patient lying
    on the back in nnU-Net's array order), z runs up in the other two.

    Raises:
        ValueError: without cases.
    """
    figure = draw_overlay(cases)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path


def draw_overlay(cases: Sequence[OverlayCase]) -> Figure:
    """The figure that :func:`save_overlay` writes; its axes are in reading order."""
    if not cases:
        raise ValueError("There is nothing to draw: no cases were given.")
    widths, heights = zip(*(_row_inches(case) for case in cases), strict=True)
    width = max(max(sum(w) + 2 * GAP_INCHES for w in widths), 6.0)
    handles = _legend_handles(cases)
    height = sum(heights) + TITLE_INCHES * len(cases) + LEGEND_INCHES * -(-len(handles) // LEGEND_COLUMNS)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="black")
    top = height
    for case, panel_widths, row_height in zip(cases, widths, heights, strict=True):
        figure.text(0.5, (top - TITLE_INCHES / 2) / height, _title(case), color="white", ha="center", va="center")
        top -= TITLE_INCHES + row_height
        left = (width - sum(panel_widths) - 2 * GAP_INCHES) / 2
        for axis, panel_width in enumerate(panel_widths):
            box = (left / width, top / height, panel_width / width, row_height / height)
            _draw_view(figure.add_axes(box), case, axis)
            left += panel_width + GAP_INCHES
    figure.legend(
        handles=handles,
        loc="lower center",
        ncol=min(len(handles), LEGEND_COLUMNS),
        frameon=False,
        labelcolor="white",
        borderaxespad=0.4,
    )
    return figure


def _extents(case: OverlayCase) -> list[tuple[float, float]]:
    """Horizontal and vertical size of the three views in mm."""
    z, y, x = (n * s for n, s in zip(case.image.shape, case.spacing, strict=True))
    return [(x, y), (x, z), (y, z)]


def _row_inches(case: OverlayCase) -> tuple[list[float], float]:
    """Panel widths and the row's height; every view fills a square of ``PANEL_INCHES`` as far as it fits."""
    sizes = [(w * PANEL_INCHES / max(w, h), h * PANEL_INCHES / max(w, h)) for w, h in _extents(case)]
    return [w for w, _ in sizes], max(h for _, h in sizes)


def _title(case: OverlayCase) -> str:
    scores = {name: _score(case.truth, prediction) for name, prediction in case.predictions.items()}
    texts = scores.values() if len(scores) == 1 else (f"{name}: {score}" for name, score in scores.items())
    return "     ".join([case.name, *texts])


def _score(truth: np.ndarray, prediction: np.ndarray) -> str:
    if truth.any():
        return f"Dice {dice(prediction > 0, truth > 0):.3f}"
    found = int((prediction > 0).sum())
    return f"nothing to find, {f'{found} voxels' if found else 'nothing'} found"


def _draw_view(axes: Axes, case: OverlayCase, axis: int) -> None:
    index = chosen_slices(case)[axis]
    width, height = _extents(case)[axis]
    low, high = case.window or np.percentile(case.image, (1, 99))
    axes.imshow(
        case.image.take(index, axis),
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        interpolation="bilinear",
    )
    truth = case.truth.take(index, axis)
    if case.classes is None:
        draw_outline(axes, truth, (width, height), TRUTH_COLOUR, 2.2)
    else:
        for colour, values in zip(cycle(CLASS_COLOURS), case.classes.values(), strict=False):
            draw_outline(axes, np.isin(truth, values), (width, height), colour, 1.6)
    for colour, prediction in zip(PREDICTION_COLOURS, case.predictions.values(), strict=False):
        draw_outline(axes, prediction.take(index, axis), (width, height), colour, 1.2)
    _draw_clicks(axes, case, axis, index)
    up = axis > 0
    axes.set(xlim=(0, width), ylim=(0, height) if up else (height, 0), aspect="equal", anchor="C")
    axes.axis("off")
    axes.text(
        0.02,
        0.98,
        f"{VIEWS[axis]} {index}",
        transform=axes.transAxes,
        color="#DDDDDD",
        fontsize=8,
        va="top",
        ha="left",
        bbox=dict(facecolor="black", alpha=0.6, linewidth=0, pad=1.5),
    )


def draw_outline(axes: Axes, labels: np.ndarray, extent: tuple[float, float], colour: str, width: float) -> None:
    """Contour every label, or a bool mask, half-way between pixel centres; contours are closed at the image's edge."""
    rows, columns = labels.shape
    x = (np.arange(-1, columns + 1) + 0.5) * extent[0] / columns
    y = (np.arange(-1, rows + 1) + 0.5) * extent[1] / rows
    for value in np.unique(labels[labels > 0]):
        axes.contour(x, y, np.pad(labels == value, 1).astype(float), [0.5], colors=colour, linewidths=width)


def _draw_clicks(axes: Axes, case: OverlayCase, axis: int, index: int) -> None:
    across, down = [(2, 1), (2, 0), (1, 0)][axis]
    for click, label in zip(case.clicks, case.click_labels, strict=True):
        if abs(click[axis] - index) <= 1:
            x, y = ((click[a] + 0.5) * case.spacing[a] for a in (across, down))
            axes.plot(x, y, _marker(label), color="white", markeredgecolor="black", markersize=8, markeredgewidth=0.8)


def _marker(label: int) -> str:
    return "P" if label else "X"


def _legend_handles(cases: Sequence[OverlayCase]) -> list[Line2D]:
    names = max((list(case.predictions) for case in cases), key=len)
    classes = max((list(case.classes or ()) for case in cases), key=len)
    truths = zip(cycle(CLASS_COLOURS), classes, strict=False) if classes else [(TRUTH_COLOUR, "truth")]
    handles = [Line2D([], [], color=c, linewidth=2.2, label=n) for c, n in truths]
    handles += [
        Line2D([], [], color=c, linewidth=1.6, label=n) for c, n in zip(PREDICTION_COLOURS, names, strict=False)
    ]
    given = {int(label) for case in cases for label in case.click_labels}
    for label, text in ((1, "click: add"), (0, "click: remove")):
        if label in given:
            handles.append(Line2D([], [], linestyle="", marker=_marker(label), color="white", label=text))
    return handles
