"""Per-case scores summed up: means with intervals, and how many cases were empty, missed or falsely found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from msam_nn.metrics.statistics import bootstrap_interval, case_mean

METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "hd95": "HD95 / mm",
    "lesion_sensitivity": "lesion sensitivity",
    "lesion_false_positives": "false lesions per case",
    "lesion_f1": "lesion F1",
    "volume_error_ml": "volume error / ml",
    "relative_volume_error": "relative volume error",
}
"""Column of the scores -> what tables call it."""

MEAN_OF_CLASSES = "mean of classes"
"""Its label in tables; ``foreground``, as nnU-Net says, may be the name of a class."""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % bootstrap interval over cases; with several classes also :data:`MEAN_OF_CLASSES`.

    HD95 is averaged where both masks have a voxel, everything else where it is defined.

    Arguments:
        scores: columns ``method, case, label`` and the metrics.

    Returns:
        Columns ``method, label, metric, mean, low, high, cases``; ``cases`` are those with a value.
    """
    rows = []
    for method, of_method in scores.groupby("method", sort=False):
        labels = list(of_method["label"].unique())
        for metric in METRICS:
            table = of_method.pivot(index="case", columns="label", values=metric)[labels]
            table = table.replace([np.inf, -np.inf], np.nan)
            groups = {label: table[[label]] for label in labels}
            if len(labels) > 1:
                groups = {MEAN_OF_CLASSES: table, **groups}
            for label, values in groups.items():
                values = values.to_numpy(float)
                n = int(np.isfinite(values).any(axis=1).sum())
                rows.append((method, label, metric, case_mean(values), *bootstrap_interval(values), n))
    return pd.DataFrame(rows, columns=["method", "label", "metric", "mean", "low", "high", "cases"])


def count_cases(scores: pd.DataFrame) -> pd.DataFrame:
    """How many cases are what, for every method and class.

    Returns:
        Columns ``method, label, cases``; ``without truth``, of those ``false alarms`` (something predicted: Dice 0)
        and ``rightly empty`` (Dice undefined, left out of means as in nnU-Net); ``missed`` (truth, nothing predicted:
        Dice 0, HD95 infinite, left out of its mean); ``true lesions`` and ``predicted lesions`` of all cases.
    """
    absent, found = scores["true_lesions"] == 0, scores["predicted_lesions"] > 0
    table = scores[["method", "label"]].assign(
        **{
            "cases": 1,
            "without truth": absent,
            "false alarms": absent & found,
            "rightly empty": absent & ~found,
            "missed": ~absent & ~found,
            "true lesions": scores["true_lesions"],
            "predicted lesions": scores["predicted_lesions"],
        }
    )
    return table.groupby(["method", "label"], sort=False).sum().astype(int).reset_index()


def summary_table(summary: pd.DataFrame, metrics: tuple[str, ...] = tuple(METRICS)) -> pd.DataFrame:
    """The summary for reading: a row per method and class, ``mean [low, high]`` in each cell."""
    cells = summary.assign(
        cell=[_cell(*values) for values in summary[["mean", "low", "high"]].itertuples(index=False)],
        row=summary["method"] + "\t" + summary["label"],
    )
    table = cells.pivot(index="row", columns="metric", values="cell").loc[cells["row"].unique(), list(metrics)]
    names = pd.DataFrame([row.split("\t") for row in table.index], columns=["method", "label"])
    return pd.concat([names, table.rename(columns=METRICS).reset_index(drop=True)], axis=1)


def _cell(mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return "–"
    decimals = 3 if abs(mean) < 2 else 1
    interval = "" if np.isnan(low) else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{mean:.{decimals}f}{interval}"
