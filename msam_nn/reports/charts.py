"""Charts of per-case scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours of Okabe and Ito, told apart with any kind of colour vision."""


def box_plots(scores: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """A panel per class and metric, a box and every case per method; what is undefined or infinite is not drawn.

    Arguments:
        scores: columns ``method, case, label`` and the metrics.
        metrics: column -> axis label.
    """
    labels, methods = list(scores["label"].unique()), list(scores["method"].unique())
    figure = Figure(figsize=(4.4 * len(metrics), (0.8 + 0.5 * len(methods)) * len(labels)), layout="constrained")
    panels = figure.subplots(len(labels), len(metrics), squeeze=False)
    rng = np.random.default_rng(0)
    for row, label in zip(panels, labels, strict=True):
        for axes, (metric, title) in zip(row, metrics.items(), strict=True):
            of_label = scores[scores["label"] == label].replace([np.inf, -np.inf], np.nan)
            values = [of_label.loc[of_label["method"] == method, metric].dropna() for method in methods]
            axes.boxplot(values, orientation="horizontal", widths=0.6, showfliers=False, medianprops={"color": "black"})
            for place, of_method in enumerate(values):
                height = place + 1 + rng.uniform(-0.2, 0.2, len(of_method))
                axes.plot(of_method, height, ".", color=COLOURS[place % len(COLOURS)], alpha=0.7)
            first = axes is row[0]
            axes.set_yticks(range(1, len(methods) + 1), methods if first else [""] * len(methods), fontsize=8)
            axes.invert_yaxis()
            axes.set_xlabel(title)
            axes.set_title(label if len(labels) > 1 else "")
            axes.grid(axis="x", alpha=0.3)
    return figure


def case_scatter(scores: pd.DataFrame, metric: str, title: str) -> Figure | None:
    """Every case of the first method against the same case of each other one; points above the line favour the other.

    Returns:
        None with a single method.
    """
    first, *others = scores["method"].unique()
    if not others:
        return None
    columns = min(len(others), 3)
    rows = -(-len(others) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, other in zip(panels, others, strict=False):
        for colour, (label, of_label) in zip(COLOURS, scores.groupby("label", sort=False), strict=False):
            table = of_label.pivot(index="case", columns="method", values=metric)
            axes.plot(table[first], table[other], "o", color=colour, alpha=0.7, markersize=5, label=label)
        axes.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes.set_xlabel(f"{title} of {first}", fontsize=7)
        axes.set_ylabel(f"{title} of {other}", fontsize=7)
        axes.grid(alpha=0.3)
    for axes in panels[len(others) :]:
        axes.remove()
    if scores["label"].nunique() > 1:
        panels[0].legend(fontsize=7)
    return figure
