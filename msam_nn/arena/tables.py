"""The tables of a report: scores, tests, ranks, costs, transfer, ablations, clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from msam_nn.arena.results import Results
from msam_nn.evaluation.clicks.summary import scores_at
from msam_nn.evaluation.scoring import ELLIPSOID
from msam_nn.evaluation.transfer import AFTER, BEFORE, transfer_table
from msam_nn.metrics.ranking import cliques, critical_difference, friedman, mean_ranks
from msam_nn.metrics.statistics import case_mean, paired_tests, rightly_empty_counts, side_by_side
from msam_nn.metrics.summary import MEAN_OF_CLASSES, METRICS, summarise, summary_table
from msam_nn.reports.wording import p_value, signed, with_interval

SHOWN = ("dice", "nsd", "lesion_f1")
TESTED = ("dice", "nsd")


def over_seeds(scores: pd.DataFrame, *further: str) -> pd.DataFrame:
    """Every case once a method: the mean of its seeds.

    Arguments:
        further: columns beyond ``method, case, label`` that tell rows apart.
    """
    keys = [*further, "method", "case", "label"]
    numbers = [column for column in scores.select_dtypes("number") if column not in (*keys, "seed", "fold", "run")]
    return scores.groupby(keys, sort=False)[numbers].mean().reset_index()


def mean_of_classes(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean of the classes of every case, under the label :data:`MEAN_OF_CLASSES`."""
    keys = [column for column in ("dataset", "method", "case") if column in scores]
    metrics = scores.replace([np.inf, -np.inf], np.nan).groupby(keys, sort=False)[list(METRICS)].mean()
    return metrics.reset_index().assign(label=MEAN_OF_CLASSES)


def deviation_over_runs(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Standard deviation of the mean over folds and seeds, and how many there are, of every method."""

    def mean(of_run: pd.DataFrame) -> float:
        return case_mean(of_run.pivot(index="case", columns="label", values=metric).to_numpy(float))

    runs = pd.Series({key: mean(run) for key, run in scores.groupby(["method", "seed", "fold"], sort=False)})
    grouped = runs.groupby(level=0, sort=False)
    return pd.DataFrame({"runs": grouped.size(), "sd": grouped.std()})


def table_1(results: Results, dataset: str) -> pd.DataFrame:
    """A row a method: means with intervals over cases, and the deviation of Dice over folds and seeds."""
    scores = results.scores[results.scores["dataset"] == dataset]
    summary = summarise(over_seeds(scores))
    label = MEAN_OF_CLASSES if MEAN_OF_CLASSES in set(summary["label"]) else summary["label"].iloc[0]
    table = summary_table(summary[summary["label"] == label], SHOWN).drop(columns="label")
    runs = deviation_over_runs(scores, "dice").loc[table["method"]]
    table["runs"] = runs["runs"].to_numpy()
    table["SD of Dice over runs"] = [f"{sd:.3f}" if pd.notna(sd) else "–" for sd in runs["sd"]]
    order = {method.name: place for place, method in enumerate(results.grid.methods)}
    table = table.sort_values("method", key=lambda names: names.map(order).fillna(len(order)), kind="stable")
    return table.reset_index(drop=True)


def tests(results: Results) -> pd.DataFrame:
    """Paired tests on the foreground of every data set; the ellipsoid takes no part. Empty with a single method."""
    tables = []
    for dataset, scores in results.scores.groupby("dataset", sort=False):
        models = _models(scores)
        if models["method"].nunique() > 1:
            table = paired_tests(mean_of_classes(over_seeds(models)), TESTED)
            table.insert(0, "dataset", dataset)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _models(scores: pd.DataFrame) -> pd.DataFrame:
    """All but the ellipsoid, whose false alarms count before seeds and classes are averaged."""
    models = scores[scores["method"] != ELLIPSOID]
    return rightly_empty_counts(models, TESTED, ("dataset", "case", "label"))


def tests_matrix(tests: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Difference of every row's method from every column's, with a star where p after Holm's correction is below
    0.05."""
    chosen = tests[tests["metric"] == metric]
    names = list(dict.fromkeys([*chosen["first"], *chosen["second"]]))
    matrix = pd.DataFrame("", index=names, columns=names)
    for row in chosen.itertuples():
        star = " *" if row.p_holm < 0.05 else ""
        matrix.loc[row.first, row.second] = signed(row.difference) + star
        matrix.loc[row.second, row.first] = signed(-row.difference) + star
    return matrix


@dataclass(frozen=True)
class Ranks:
    """Mean ranks by Dice over the cases of all data sets, of the methods that every data set has."""

    ranks: pd.Series
    n_cases: int
    p: float
    difference: float
    groups: list[tuple[str, str]]
    left_out: list[str]


def ranks(results: Results) -> Ranks | None:
    """None with fewer than two methods."""
    scores = mean_of_classes(over_seeds(_models(results.scores), "dataset"))
    n_datasets = scores.groupby("method", sort=False)["dataset"].nunique()
    names = [m.name for m in results.grid.methods if n_datasets.get(m.name, 0) == scores["dataset"].nunique()]
    left_out = [name for name in sorted(n_datasets.index) if name not in names]
    values = side_by_side(scores[scores["method"].isin(names)], "dice", ("dataset", "case"))
    if len(names) < 2 or values.empty:
        return None
    difference, of_methods = critical_difference(len(names), len(values)), mean_ranks(values)
    groups = cliques(of_methods, difference)
    return Ranks(of_methods, len(values), friedman(values), difference, groups, left_out)


def table_2(results: Results) -> pd.DataFrame:
    """Columns ``method, source, target`` and those of :func:`transfer_table`, for the foreground or the only class."""
    tables = []
    for key, scores in results.transfers.groupby(["method", "source", "target"], sort=False):
        cases = over_seeds(scores.drop(columns="method").rename(columns={"when": "method"}))
        table = transfer_table(cases)
        table = table[table["label"] == table["label"].iloc[0]]
        for place, (name, value) in enumerate(zip(("method", "source", "target"), key, strict=True)):
            table.insert(place, name, value)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def transfer_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Dice of each source's model (row) on each target (column), the rate in brackets; in-domain on the diagonal."""
    dice = table[table["metric"] == "dice"]
    matrix: dict[tuple[str, str], dict[str, str]] = {}
    for row in dice.to_dict("records"):
        rate = f" ({row['rate']:+.1%})" if pd.notna(row.get("rate")) else ""
        matrix.setdefault((row["method"], row["source"]), {})[row["target"]] = f"{row[AFTER]:.3f}{rate}"
        if pd.notna(row.get(BEFORE)):
            matrix.setdefault((row["method"], row["target"]), {})[row["target"]] = f"{row[BEFORE]:.3f}"
    frame = pd.DataFrame.from_dict(matrix, orient="index").fillna("–")
    frame.index = [f"{method}, trained on {source}" for method, source in frame.index]
    return frame.sort_index(axis=1)


def table_3(results: Results, tests: pd.DataFrame) -> pd.DataFrame:
    """Every variant against what it is a variant of: Dice of both, variant minus reference, its interval and p."""
    rows = []
    for method in results.grid.methods:
        for row in tests[tests["metric"] == "dice"].to_dict("records") if method.variant_of else ():
            pair = (row["first"], row["second"])
            if set(pair) == {method.name, method.variant_of}:
                sign = 1 if row["first"] == method.name else -1
                change = with_interval(sign * row["difference"], *sorted((sign * row["low"], sign * row["high"])))
                rows.append((row["dataset"], method.name, method.variant_of, change, p_value(row["p"])))
    return pd.DataFrame(rows, columns=["dataset", "variant", "of", "change of Dice", "p"])


def clicks_table(results: Results, dataset: str) -> pd.DataFrame:
    """Dice after clicks, the mean of the classes: a row a method and strategy, a column a number of clicks."""
    rows = {}
    for method, scores in results.clicks[results.clicks["dataset"] == dataset].groupby("method", sort=False):
        table = scores_at(scores, "dice")
        label = MEAN_OF_CLASSES if MEAN_OF_CLASSES in table.index.get_level_values("label") else table.index[0][1]
        strategies = table.xs(label, level="label")
        for strategy, row in strategies.iterrows():
            rows[method if len(strategies) == 1 else f"{method}, {strategy}"] = row
    return pd.DataFrame(rows).T.sort_index(axis=1)
