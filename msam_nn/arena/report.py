"""A grid's results as one page and CSV files."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import pandas as pd

from msam_nn.arena import tables
from msam_nn.arena.results import Results
from msam_nn.metrics.scores import LESION_IOU
from msam_nn.metrics.summary import METRICS
from msam_nn.reports.charts import click_lines, cost_scatter, critical_difference_diagram
from msam_nn.reports.pages import figure_uri, rows_html, table_html, write_page
from msam_nn.reports.wording import p_value

COSTS = {
    "training CPU minutes per fold": "training / CPU minutes",
    "prediction CPU seconds": "a prediction / CPU s",
    "prediction seconds": "a prediction / s",
    "parameters": "parameters / M",
    "peak GiB of training": "memory of training / GiB",
    "peak GPU GiB": "GPU memory of a prediction / GiB",
}


def write_report(folder: Path, results: Results) -> pd.DataFrame:
    """Write ``arena.html`` and the tables as CSV into a folder that exists; returns Table 1 of all data sets."""
    tests, ranks = tables.tests(results), tables.ranks(results)
    first = {dataset: tables.table_1(results, dataset) for dataset in results.scores["dataset"].unique()}
    table_1 = pd.concat([table.assign(dataset=d) for d, table in first.items()], ignore_index=True)
    table_1.insert(0, "dataset", table_1.pop("dataset"))
    files = {"scores": results.scores, "table1": table_1, "costs": results.costs, "tests": tests}
    if ranks is not None:
        files["ranks"] = ranks.ranks.sort_values().rename_axis("method").rename("mean rank").reset_index()
    if len(results.transfers):
        files["table2"] = tables.table_2(results)
    if any(method.variant_of for method in results.grid.methods) and len(tests):
        files["table3"] = tables.table_3(results, tests)
    if len(results.clicks):
        files["clicks"] = results.clicks
    for name, table in files.items():
        if len(table):
            table.to_csv(folder / f"{name}.csv", index=False)
    write_page(folder / "arena.html", "arena.html", title="Arena", **_context(results, files, first, ranks))
    return table_1


def _context(
    results: Results, files: dict[str, pd.DataFrame], first: dict[str, pd.DataFrame], ranks: tables.Ranks | None
) -> dict[str, object]:
    grid = results.grid
    costs = _whole_parameters(results.costs)
    costs = costs.drop(columns=[column for column in costs if costs[column].isna().all()])
    return {
        "grid": grid,
        "seeds": [seed for seed in grid.seeds if seed is not None],
        "lesion_iou": LESION_IOU,
        "missing": results.missing,
        "datasets": [_dataset(results, files["tests"], name, table) for name, table in first.items()],
        "costs": rows_html(costs, 2),
        "ranks": ranks,
        "friedman": None if ranks is None or isnan(ranks.p) else p_value(ranks.p),
        "rank_picture": ranks and figure_uri(critical_difference_diagram(ranks.ranks, ranks.difference, ranks.groups)),
        "transfer": table_html(tables.transfer_matrix(files["table2"])) if "table2" in files else None,
        "ablations": rows_html(files["table3"]) if len(files.get("table3", ())) else None,
    }


def _dataset(results: Results, tests: pd.DataFrame, name: str, table: pd.DataFrame) -> dict[str, object]:
    """What the page shows of a data set."""
    of_dataset = tests[tests["dataset"] == name] if len(tests) else tests
    costs = results.costs[results.costs["dataset"] == name]
    dice = pd.to_numeric(table.set_index("method")[METRICS["dice"]].str.split(" ").str[0], errors="coerce")
    costs = costs.assign(dice=costs["method"].map(dice), parameters=costs["parameters"] / 1e6)
    priced = {column: label for column, label in COSTS.items() if column in costs}
    clicks = tables.clicks_table(results, name) if len(results.clicks) else pd.DataFrame()
    return {
        "name": name,
        "cases": results.scores[results.scores["dataset"] == name]["case"].nunique(),
        "table": rows_html(table),
        "tests": table_html(tables.tests_matrix(of_dataset, "dice")) if len(of_dataset) else None,
        "cost_picture": figure_uri(cost_scatter(costs, priced, "dice", "Dice")),
        "clicks": table_html(clicks) if len(clicks) else None,
        "click_picture": figure_uri(click_lines(clicks, "Dice")) if len(clicks) else None,
    }


def _whole_parameters(costs: pd.DataFrame) -> pd.DataFrame:
    return costs.assign(parameters=[f"{n:,.0f}" if pd.notna(n) else "–" for n in costs["parameters"]])
