"""Charts of per-case scores."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours of Okabe and Ito, told apart with any kind of colour vision."""

ALIKE = 1.05
"""Ratio of the largest to the smallest cost up to which methods cost the same."""


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
        for colour, (label, of_label) in zip(cycle(COLOURS), scores.groupby("label", sort=False), strict=False):
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


def critical_difference_diagram(ranks: pd.Series, difference: float, groups: list[tuple[str, str]]) -> Figure:
    """Mean ranks on a line, the best on the left; a bar joins methods that the test does not tell apart.

    Arguments:
        groups: (best, worst) of each bar.
    """
    ordered = ranks.sort_values(kind="stable")
    n = len(ordered)
    half = -(-n // 2)
    figure = Figure(figsize=(9, 1.3 + 0.3 * half + 0.16 * len(groups)), layout="constrained")
    axes = figure.subplots()
    depth = 0.5 + 0.35 * len(groups)
    for place, (name, rank) in enumerate(ordered.items()):
        left = place < half
        height = -depth - 0.8 * (place + 1 if left else n - place)
        side = 0.75 if left else n + 0.25
        axes.plot([rank, rank, side], [0, height, height], color="black", linewidth=0.8)
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(side + (-0.05 if left else 0.05), height, text, ha="right" if left else "left", va="center")
    for row, (best, worst) in enumerate(groups):
        ends = [ordered[best] - 0.03, ordered[worst] + 0.03]
        axes.plot(ends, [-0.4 - 0.35 * row] * 2, color=COLOURS[0], linewidth=4, solid_capstyle="butt")
    axes.plot([1, n], [0, 0], color="black")
    for rank in range(1, n + 1):
        axes.plot([rank, rank], [0, 0.2], color="black", linewidth=0.8)
        axes.text(rank, 0.3, str(rank), ha="center", va="bottom", fontsize=8)
    if np.isfinite(difference):
        axes.plot([1, 1 + difference], [1.4, 1.4], color="black", linewidth=2)
        axes.text(1, 1.6, f"critical difference {difference:.2f}", va="bottom", fontsize=8)
    axes.set_xlim(0.75 - 0.4 * n, n + 0.25 + 0.4 * n)
    axes.axis("off")
    return figure


def cost_scatter(table: pd.DataFrame, costs: dict[str, str], value: str, title: str) -> Figure:
    """A panel per cost, logarithmic, against a score; a mark per method. Costs that nobody has, or all methods alike (a
    budget), are left out.

    Arguments:
        table: columns ``method``, ``value`` and the costs.
        costs: column -> axis label.
    """
    known = {column: label for column, label in costs.items() if _differs(table[column])}
    columns = max(1, min(len(known), 3))
    rows = max(1, -(-len(known) // columns))
    figure = Figure(figsize=(2.7 * columns + 2, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    markers = "osD^vP"
    for axes, (column, label) in zip(panels, known.items(), strict=False):
        for place, row in enumerate(table.to_dict("records")):
            style = {"color": COLOURS[place % len(COLOURS)], "marker": markers[place % len(markers)]}
            axes.plot(row[column], row[value], **style, linestyle="", label=row["method"])
        axes.set(xscale="log", xlabel=label)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3, which="both")
    for axes in panels[len(known) :]:
        axes.remove()
    panels[0].set_ylabel(title)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    return figure


def _differs(cost: pd.Series) -> bool:
    known = cost[cost > 0]
    return len(known) > 0 and (len(cost) == 1 or known.max() > ALIKE * known.min())


def click_lines(table: pd.DataFrame, title: str) -> Figure:
    """A line per method over the number of clicks; ``table`` has a row a method and a column a number of clicks."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for colour, (name, row) in zip(COLOURS * len(table), table.iterrows(), strict=False):
        row = row.dropna()
        axes.plot(row.index, row.to_numpy(float), "o-", color=colour, label=name)
    axes.set(xlabel="clicks a class", ylabel=title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
