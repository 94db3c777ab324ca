"""Means with intervals over cases, and paired tests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

N_RESAMPLES = 9999
CONFIDENCE = 0.95


def case_mean(values: np.ndarray) -> float:
    """Mean over cases, then over classes, as nnU-Net's foreground mean; what is undefined is left out.

    Arguments:
        values: ``(cases, classes)``, NaN where undefined.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return float(np.nanmean(np.nanmean(values, axis=0)))


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of :func:`case_mean`, drawing whole cases.

    Arguments:
        values: ``(cases, classes)``, NaN where undefined.

    Returns:
        (low, high); NaN with fewer than two cases that have a value.
    """
    values = values[np.isfinite(values).any(axis=1)]
    if len(values) < 2:
        return float("nan"), float("nan")

    def mean(cases: np.ndarray, axis: int) -> np.ndarray:
        return np.nanmean(np.nanmean(values[cases], axis=axis - 1), axis=-1)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        drawn = stats.bootstrap(
            (np.arange(len(values)),),
            mean,
            n_resamples=N_RESAMPLES,
            batch=1000,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test; 1 if no pair differs, NaN without pairs."""
    if not differences.size:
        return float("nan")
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P values adjusted by Holm's step-down method (Holm, 1979); NaN stays NaN and does not count as a test."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def rightly_empty_counts(scores: pd.DataFrame, metrics: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """The scores, with 1 where a metric is undefined, because nothing is there and nothing was predicted, and another
    row of the same ``keys`` has a value.

    That is another method's false alarm, which counts 0: otherwise it would cost nothing in a comparison.

    Arguments:
        metrics: those whose best value is 1.
    """
    groups = [scores[key] for key in keys]
    has_value = scores[list(metrics)].notna().groupby(groups, sort=False).transform("any")
    return scores.assign(**{name: scores[name].mask(scores[name].isna() & has_value[name], 1.0) for name in metrics})


def side_by_side(scores: pd.DataFrame, metric: str, cases: Sequence[str] = ("case",)) -> pd.DataFrame:
    """A row a case, a column a method, where :func:`rightly_empty_counts`: the cases that every method has and at least
    one has a value for.

    Arguments:
        scores: columns ``method``, those of ``cases``, and the metric, whose best value is 1.
    """
    counted = rightly_empty_counts(scores, [metric], cases)
    return counted.pivot(index=list(cases), columns="method", values=metric).dropna()


def paired_tests(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Compare every two methods on the cases of :func:`side_by_side`.

    Arguments:
        scores: columns ``method, case, label`` and the metrics, whose best value is 1; a method has each case once.

    Returns:
        Columns ``metric, label, first, second, cases, difference, low, high, p, p_holm``. The difference is the mean
        of first minus second; Holm's correction is over all rows.
    """
    rows = []
    for metric in metrics:
        for label in scores["label"].unique():
            of_label = scores[scores["label"] == label]
            for first, second in combinations(scores["method"].unique(), 2):
                table = side_by_side(of_label[of_label["method"].isin((first, second))], metric)
                difference = (table[first] - table[second]).to_numpy()
                rows.append((
                    metric, label, first, second, len(difference), case_mean(difference[:, None]),
                    *bootstrap_interval(difference[:, None]), wilcoxon(difference),
                ))  # fmt: skip
    tests = pd.DataFrame(
        rows, columns=["metric", "label", "first", "second", "cases", "difference", "low", "high", "p"]
    )
    return tests.assign(p_holm=holm(tests["p"]))
