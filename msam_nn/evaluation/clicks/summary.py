"""Scores after simulated clicks as a few tables a person reads."""

from __future__ import annotations

import pandas as pd

from msam_nn.metrics.click_curves import AREA_CLICKS, CURVE, THRESHOLDS, describe_curves
from msam_nn.metrics.summary import MEAN_OF_CLASSES
from msam_nn.reports.markdown import markdown_table

SHOWN_CLICKS = (0, 1, 3, 5, 10)
ROW = ["strategy", "label"]

SLIGHT = 0.002
"""Dice by which a fall is hardly one."""


def scores_at(scores: pd.DataFrame, metric: str, statistic: str = "mean") -> pd.DataFrame:
    """A metric after :data:`SHOWN_CLICKS` and after the last clicks, of the cases that have the class.

    Arguments:
        statistic: over cases, after the mean over seeds; ``"median"`` where distances may be infinite.

    Returns:
        Index :data:`ROW`, one column per number of clicks.
    """
    present = scores[scores["true_voxels"] > 0]
    shown = present[present["clicks"].isin({*SHOWN_CLICKS, present["clicks"].max()})]
    per_case = shown.groupby([*ROW, "clicks", "case"], sort=False)[metric].mean()
    return _with_mean_of_classes(per_case.groupby([*ROW, "clicks"], sort=False).agg(statistic).unstack("clicks"))


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean areas under the curves and scores at the end of them; with several seeds, how much the latter vary."""
    named = {"dice_auc": "Dice AUC", "dice_final": "Dice final", "nsd_auc": "NSD AUC", "nsd_final": "NSD final"}
    per_case = curves.groupby([*ROW, "case"], sort=False)[list(named)].mean()
    table = per_case.groupby(ROW, sort=False).mean().rename(columns=named)
    per_seed = curves.groupby([*ROW, "seed"], sort=False)["dice_final"].mean()
    if curves["seed"].nunique() > 1:
        table["sd of Dice final over seeds"] = per_seed.groupby(ROW, sort=False).std()
    return _with_mean_of_classes(table)


def effort(curves: pd.DataFrame, most_clicks: int) -> pd.DataFrame:
    """Mean number of clicks to each threshold of Dice, and in brackets the share of curves that never reach it.

    Those count with ``most_clicks``, the number after which the user gave up, so their mean is a lower bound.
    """
    columns = {}
    for threshold in THRESHOLDS:
        needed = curves[f"needed_{100 * threshold:.0f}"]
        groups = [curves[name] for name in ROW]
        mean = needed.fillna(most_clicks).groupby(groups, sort=False).mean()
        failed = needed.isna().groupby(groups, sort=False).mean()
        text = [f"{m:.1f} ({f:.0%} fail)" for m, f in zip(mean, failed, strict=True)]
        columns[f"Dice {threshold:.2f}"] = pd.Series(text, index=mean.index)
    return pd.DataFrame(columns)


def setbacks(scores: pd.DataFrame) -> pd.DataFrame:
    """How often a round of clicks makes Dice worse, and by how much on average where it does; of several classes, in a
    row of its own, a case's mean."""
    present = scores[scores["true_voxels"] > 0].sort_values("clicks", kind="stable")
    if present["label"].nunique() > 1:
        rounds = [name for name in CURVE if name != "label"] + ["clicks"]
        means = present.groupby(rounds, sort=False, as_index=False)["dice"].mean()
        present = pd.concat([present, means.assign(label=MEAN_OF_CLASSES)], ignore_index=True)
    falls = -present.groupby(CURVE, sort=False)["dice"].diff()
    groups = [present[name] for name in ROW]
    made = falls.notna().groupby(groups, sort=False).sum()
    shares = {
        name: (falls > limit).groupby(groups, sort=False).sum() / made
        for name, limit in (("share of rounds", 0), (f"by more than {SLIGHT:g}", SLIGHT))
    }
    depth = falls.where(falls > 0).groupby(groups, sort=False).mean()
    return pd.DataFrame({**shares, "mean fall of Dice": depth})


def durations(scores: pd.DataFrame) -> pd.DataFrame:
    """Median seconds of the prediction before any click, the first click, and later ones."""
    when = pd.cut(scores["clicks"], [-1, 0, 1, scores["clicks"].max() + 1], labels=["before", "first", "later"])
    table = scores.groupby(["strategy", when], sort=False, observed=True)["seconds"].median().unstack("clicks")
    return table.rename(columns={"before": "before clicks", "first": "first click", "later": "later clicks"})


def absences(scores: pd.DataFrame) -> str:
    """A sentence on the classes that cases do not have, which no table counts; empty if there are none."""
    absent = scores[scores["true_voxels"] == 0].drop_duplicates(["case", "label"])
    if absent.empty:
        return ""
    false_alarms = int((absent["dice"] == 0).sum())
    return (
        f"Not counted above: {len(absent)} times a case does not have a class; {false_alarms} of them with a false "
        f"finding after {absent['clicks'].min()} clicks."
    )


def to_markdown(scores: pd.DataFrame, *, title: str, protocol: str, tolerance_mm: float) -> str:
    """The whole summary.

    Arguments:
        scores: as ``run_protocol`` returns them.
        protocol: what the numbers stand for, named in the second line.
        tolerance_mm: of the NSD.
    """
    curves, most = describe_curves(scores), int(scores["clicks"].max())
    parts = [
        f"# {title}",
        f"Protocol: {protocol}. {scores['case'].nunique()} cases; means over the cases that have the class.",
        f"## Dice after clicks\n\n{markdown_table(scores_at(scores, 'dice'))}",
        f"## IoU after clicks\n\n{markdown_table(scores_at(scores, 'iou'))}",
        f"## NSD at {tolerance_mm:g} mm after clicks\n\n{markdown_table(scores_at(scores, 'nsd'))}",
        f"## HD95 in mm after clicks, median over cases\n\n{markdown_table(scores_at(scores, 'hd95', 'median'), 1)}",
        f"## Clicks needed\n\nCurves that never get there count with {most} clicks, the most there were.\n\n"
        f"{markdown_table(effort(curves, most))}",
        f"## Clicks after which Dice falls\n\n{markdown_table(setbacks(scores))}",
    ]
    if most >= max(AREA_CLICKS):
        parts.append(
            f"## Area under the curve\n\nAs in the CVPR 2025 interactive segmentation challenge: trapezoid rule over "
            f"the scores after 1 to 5 clicks, at most 4; final is after 5 clicks.\n\n{markdown_table(areas(curves))}"
        )
    parts.append(f"## Seconds, median\n\n{markdown_table(durations(scores), 2)}")
    parts.append(absences(scores))
    return "\n\n".join(part for part in parts if part) + "\n"


def _with_mean_of_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Add a row per strategy with the mean over its classes, if there are several."""
    if table.index.get_level_values("label").nunique() < 2:
        return table
    means = table.groupby(level="strategy", sort=False).mean()
    means.index = pd.MultiIndex.from_product([means.index, [MEAN_OF_CLASSES]], names=ROW)
    return pd.concat([table, means])
