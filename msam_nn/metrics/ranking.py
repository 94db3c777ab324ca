"""Methods ranked over many cases or data sets, and by how much mean ranks have to differ (Demšar, JMLR 7, 2006)."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

ALPHA = 0.05


def mean_ranks(values: pd.DataFrame) -> pd.Series:
    """Mean rank of every method, 1 the best; equal values share their mean rank.

    Arguments:
        values: a row a case, a column a method, higher is better, none missing.
    """
    return values.rank(axis=1, ascending=False).mean()


def friedman(values: pd.DataFrame) -> float:
    """P of Friedman's test that all methods rank alike; NaN for fewer than three methods or two cases."""
    n_cases, n_methods = values.shape
    if n_methods < 3 or n_cases < 2:
        return math.nan
    return float(stats.friedmanchisquare(*(values[method] for method in values)).pvalue)


def critical_difference(n_methods: int, n_cases: int) -> float:
    """Mean ranks that differ by less are not told apart by Nemenyi's test at :data:`ALPHA`; NaN for one method.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    if n_methods < 2 or n_cases < 1:
        return math.nan
    quantile = stats.studentized_range.ppf(1 - ALPHA, n_methods, math.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_cases)))


def cliques(ranks: pd.Series, difference: float) -> list[tuple[str, str]]:
    """Largest groups of methods whose mean ranks all lie within ``difference``: (best, worst) of each, of two or more.

    >>> cliques(pd.Series({"a": 1.2, "b": 1.9, "c": 2.9}), 1.0)
    [('a', 'b'), ('b', 'c')]
    """
    ordered = ranks.sort_values(kind="stable")
    groups: list[tuple[int, int]] = []
    for first in range(len(ordered)):
        last = int((ordered <= ordered.iloc[first] + difference).sum()) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return [(str(ordered.index[first]), str(ordered.index[last])) for first, last in groups]
