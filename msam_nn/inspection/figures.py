"""The figures of ``msam check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from msam_nn.inspection.case_statistics import CaseStatistics, read_case
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.raw_dataset import RawDataset
from msam_nn.reports.overlay import CLASS_COLOURS, OverlayCase, draw_overlay

CT_WINDOW = (-160.0, 240.0)
IMAGE_COLOUR = "#8A93A0"
AXES = ("z", "y", "x")
LESION_COUNT_BINS = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5–9": 5, "≥10": 10}
"""Name of a bar -> the smallest count in it."""


def case_picture(dataset: RawDataset, name: str) -> Figure:
    """Label outlines on the slices of largest area, a row per channel."""
    image, properties, label, _ = read_case(dataset, name)
    truth = np.where(np.isin(label, list(set().union(*dataset.classes.values()))), label, 0).astype(int)
    rows = [
        OverlayCase(
            f"{name}   {channel_name}",
            np.nan_to_num(channel),
            truth,
            {},
            tuple(properties["spacing"]),
            window=CT_WINDOW if is_ct(channel_name) else None,
            classes=dataset.classes,
        )
        for channel_name, channel in zip(dataset.channel_names, image, strict=False)
    ]
    return draw_overlay(rows)


def is_ct(channel_name: str) -> bool:
    """As nnU-Net decides it."""
    return channel_name.casefold() == "ct"


def intensity_histograms(dataset: RawDataset, cases: Sequence[CaseStatistics]) -> Figure:
    """A panel per channel: the distribution over all voxels, and inside each class; every case counts alike.

    CT is in HU; any other channel has no unit that cases share, and is shown as nnU-Net's z-score makes it.
    """
    n = len(dataset.channel_names)
    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Figure(figsize=(5 * columns if n > 1 else 8, 3.1 * rows), layout="constrained")
    for channel, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if channel >= n:
            axes.remove()
            continue
        having = [case for case in cases if channel < case.channels]
        ct = is_ct(dataset.channel_names[channel])
        scales = [(0.0, 1.0) if ct else _mean_and_std(case.intensities[channel]) for case in having]
        whole = _pooled([(c.intensities[channel] - mean) / std for c, (mean, std) in zip(having, scales, strict=True)])
        classes = {
            name: _pooled(
                [
                    (case.class_intensities[name][channel] - mean) / std
                    for case, (mean, std) in zip(having, scales, strict=True)
                    if name in case.class_intensities
                ]
            )
            for name in dataset.classes
        }
        _draw_intensities(axes, whole, classes)
        xlabel = "intensity (HU)" if ct else "intensity (standard deviations from the image's mean)"
        axes.set(title=dataset.channel_names[channel], xlabel=xlabel, ylabel="density")
        if channel == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.mean()), float(finite.std()) or 1.0) if len(finite) else (0.0, 1.0)


def _pooled(samples: Sequence[np.ndarray]) -> np.ndarray:
    values = np.concatenate([*samples, np.zeros(0)])
    return values[np.isfinite(values)]


def _draw_intensities(axes: Axes, whole: np.ndarray, classes: Mapping[str, np.ndarray]) -> None:
    drawn = [values for values in (whole, *classes.values()) if len(values)]
    if not drawn:
        return
    limits = np.array([np.percentile(values, (0.5, 99.5)) for values in drawn])
    low, high = limits[:, 0].min(), limits[:, 1].max()
    bins = np.linspace(low, high if high > low else low + 1, 81)
    heights, _, _ = axes.hist(whole, bins, density=True, color=IMAGE_COLOUR, alpha=0.55, label="whole image")
    peaks = [heights.max()]
    for colour, (name, values) in zip(cycle(CLASS_COLOURS), classes.items(), strict=False):
        if len(values):
            heights, _, _ = axes.hist(
                values, bins, density=True, histtype="step", color=colour, linewidth=1.8, label=name
            )
            peaks.append(heights.max())
    if len(peaks) > 1:  # empty space around the patient would press everything else flat
        axes.set_ylim(0, 1.15 * min(max(peaks), 3 * max(peaks[1:])))
    _plain(axes)


def geometry_spread(cases: Sequence[CaseStatistics]) -> Figure:
    """Spacing, shape and extent of every case along each axis; bars mark the median."""
    spacing, shape = np.array([c.spacing for c in cases]), np.array([c.shape for c in cases])
    panels = {"spacing (mm)": spacing, "size (voxels)": shape, "size (mm)": spacing * shape}
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(cases))
    for axes, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for axis, name in enumerate(AXES):
            axes.plot(axis + spread, values[:, axis], "o", color="#0072B2", markersize=4, alpha=0.45, markeredgewidth=0)
            axes.hlines(np.median(values[:, axis]), axis - 0.36, axis + 0.36, color="#D55E00", linewidth=2.2)
            axes.set_xticks(range(3), AXES)
            axes.set(title=title, ylim=(0, 1.08 * values.max()), xlim=(-0.6, 2.6), label=name)
        _plain(axes)
    return figure


def lesion_figure(dataset: RawDataset, cases: Sequence[CaseStatistics], plan: PlanFacts | None) -> Figure:
    """Volume per case, lesions per case, and volume of single lesions beside a token's."""
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    per_case, counts, single = figure.subplots(1, 3)
    width = 0.8 / len(dataset.classes)
    starts = np.array(list(LESION_COUNT_BINS.values()))
    everything = np.concatenate([c.lesions[name].volumes_mm3 for c in cases for name in dataset.classes])
    bins = np.geomspace(*_decades(everything / 1000, plan), 31)
    for index, (colour, name) in enumerate(zip(cycle(CLASS_COLOURS), dataset.classes, strict=False)):
        lesions = [case.lesions[name] for case in cases]
        volumes = np.sort([each.volumes_mm3.sum() / 1000 for each in lesions if len(each.volumes_mm3)])
        per_case.plot(np.arange(1, len(volumes) + 1), volumes, ".-", color=colour, label=name, linewidth=1)
        bars = np.bincount(
            np.searchsorted(starts, [len(each.volumes_mm3) for each in lesions], side="right") - 1,
            minlength=len(starts),
        )
        counts.bar(np.arange(len(starts)) + (index + 0.5) * width - 0.4, bars, width, color=colour)
        volumes = np.concatenate([each.volumes_mm3 for each in lesions]) / 1000
        single.hist(volumes, bins, histtype="step", color=colour, linewidth=1.8)
    if plan:
        single.axvline(plan.token_mm3 / 1000, color="black", linestyle="--", linewidth=1.2, label="one token")
        single.legend(frameon=False, fontsize=8)
    per_case.legend(frameon=False, fontsize=8)
    per_case.set(title="volume per case", xlabel="cases, by volume", ylabel="ml", yscale="log")
    counts.set(title="lesions per case", xlabel="lesions", ylabel="cases")
    counts.set_xticks(range(len(starts)), list(LESION_COUNT_BINS), fontsize=8)
    single.set(title="volume of a lesion", xlabel="ml", ylabel="lesions", xscale="log")
    _plain_numbers(per_case.yaxis)
    _plain_numbers(single.xaxis)
    for axis in (counts.yaxis, single.yaxis, per_case.xaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for axes in (per_case, counts, single):
        _plain(axes)
    return figure


def _plain_numbers(axis: Axis) -> None:
    """Ticks of a logarithmic axis as 0.1, 1, 10, with 2 and 5 between them where the axis spans few decades."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _decades(volumes_ml: np.ndarray, plan: PlanFacts | None) -> tuple[float, float]:
    """Bounds that hold all volumes and the token's; a decade where there is nothing to bound."""
    values = [*volumes_ml, *([plan.token_mm3 / 1000] if plan else [])] or [1.0]
    return min(values) / 1.5, max(values) * 1.5


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E9EE", linewidth=0.8)
    axes.set_axisbelow(True)
