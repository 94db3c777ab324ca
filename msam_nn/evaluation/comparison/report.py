"""Write a comparison as CSV, JSON, Markdown and one HTML page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from msam_nn import __version__
from msam_nn.evaluation.comparison.contest import Comparison, Contest, overlay_case, worst_cases
from msam_nn.evaluation.scoring import ELLIPSOID, ScoringOptions
from msam_nn.metrics.scores import LESION_CONNECTIVITY
from msam_nn.metrics.summary import METRICS, summary_table
from msam_nn.reports.charts import box_plots, case_scatter
from msam_nn.reports.markdown import markdown_table
from msam_nn.reports.overlay import draw_overlay
from msam_nn.reports.pages import figure_uri, rows_html, write_page
from msam_nn.reports.wording import p_value, with_interval

COUNTS_NOTE = (
    "Without truth: the class is not in the case. False alarms: something was predicted there, Dice 0. Rightly empty: "
    "nothing was, Dice is undefined and left out of means, as in nnU-Net's summary.json. Missed: nothing was predicted "
    "where there is something; Dice is 0, HD95 infinite and left out of its mean."
)
TESTS_NOTE = (
    "Mean difference, first minus second, over the cases where one of them has a value [95 % bootstrap interval]; "
    "where the other is rightly empty beside a false alarm, it counts 1. p of the two-sided Wilcoxon signed-rank test, "
    "and after Holm's correction for all rows of this table."
)
COSTS_NOTE = (
    "Training time is wall-clock by nnU-Net's logs, on whatever machine it ran. Prediction, if measured, is one case "
    "with nnU-Net's defaults, from the image in memory to the segmentation, second run. A dash means not known."
)


def setting_lines(contest: Contest, options: ScoringOptions) -> list[str]:
    """What was measured and how, in sentences."""
    folds = ", ".join(f"{fold} ({len(cases)} cases)" for fold, cases in contest.splits.items())
    return [
        f"{contest.truth.dataset}, validation cases of fold {folds}: whole volumes on the original grid, each case "
        "predicted by the model that did not train on it.",
        f"NSD at {options.tolerance_mm:g} mm. Lesions are {LESION_CONNECTIVITY}-connected components; one is found if "
        f"a predicted one overlaps it with an IoU of at least {options.lesion_iou:g}, matched one to one. Volume error "
        "is predicted minus true, relative volume error its absolute value as a share of the true volume.",
        f"The {ELLIPSOID} knows the array's shape and the fold's training masks, but no voxel of an image: what it "
        "scores is given away by how the images were cropped and is no model's merit.",
    ]


def write_comparison(
    folder: Path, contest: Contest, comparison: Comparison, options: ScoringOptions, n_worst: int
) -> None:
    """Write ``comparison.csv`` (every case), ``.json``, ``.md`` and ``.html`` into a folder that exists."""
    comparison.scores.to_csv(folder / "comparison.csv", index=False)
    (folder / "comparison.json").write_text(_json(contest, comparison, options), encoding="utf-8")
    (folder / "comparison.md").write_text(markdown(contest, comparison, options), encoding="utf-8")
    _write_html(folder / "comparison.html", contest, comparison, options, n_worst)


def _title(contest: Contest) -> str:
    return f"Comparison on {contest.truth.dataset}"


def tests_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The paired tests for reading."""
    differences = [with_interval(*values) for values in tests[["difference", "low", "high"]].values]
    p_values = {column: tests[column].map(p_value) for column in ("p", "p_holm")}
    table = tests.assign(metric=tests["metric"].map(METRICS), difference=differences, **p_values)
    columns = ["first", "second", "metric", "label", "cases", "difference", "p", "p_holm"]
    return table[columns].rename(columns={"p_holm": "p (Holm)"})


def _tables(comparison: Comparison) -> dict[str, tuple[pd.DataFrame, int]]:
    """Name -> table for reading, and its decimals."""
    costs = comparison.costs.copy()
    costs["parameters"] = [f"{n:,.0f}" if pd.notna(n) else "–" for n in costs["parameters"]]
    return {
        "summary": (summary_table(comparison.summary), 3),
        "counts": (comparison.counts, 3),
        "tests": (tests_table(comparison.tests), 3),
        "costs": (costs, 2),
    }


def markdown(contest: Contest, comparison: Comparison, options: ScoringOptions) -> str:
    """The report as Markdown, without pictures."""
    tables = {
        name: markdown_table(table.set_index(table.columns[0]), decimals)
        for name, (table, decimals) in _tables(comparison).items()
    }
    notes = {"counts": COUNTS_NOTE, "tests": TESTS_NOTE, "costs": COSTS_NOTE}
    parts = [f"# {_title(contest)}", *setting_lines(contest, options)]
    titles = {"summary": "Scores", "counts": "Cases", "tests": "Paired tests", "costs": "Costs"}
    for name, title in titles.items():
        parts += [f"## {title}", tables[name], notes.get(name, "Mean over cases [95 % bootstrap interval].")]
    return "\n\n".join([*parts, f"Written by msam_nn {__version__}."]) + "\n"


def _json(contest: Contest, comparison: Comparison, options: ScoringOptions) -> str:
    """Everything as numbers; what is undefined or infinite is null."""
    tables = {name: getattr(comparison, name) for name in ("summary", "counts", "tests", "costs", "scores")}
    content = {
        "msam_nn": __version__,
        "dataset": contest.truth.dataset,
        "folds": {str(fold): cases for fold, cases in contest.splits.items()},
        "results": {results.name: str(results.path) for results in contest.results},
        "tolerance_mm": options.tolerance_mm,
        "lesion_iou": options.lesion_iou,
        "lesion_connectivity": LESION_CONNECTIVITY,
        **{name: _records(table) for name, table in tables.items()},
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _records(table: pd.DataFrame) -> list[dict]:
    table = table.replace([np.inf, -np.inf], np.nan)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _write_html(path: Path, contest: Contest, comparison: Comparison, options: ScoringOptions, n_worst: int) -> None:
    scores = comparison.scores
    worst = worst_cases(scores, n_worst)
    drawn = [overlay_case(contest, case) for case in worst["case"]]
    drawn = [case for case in drawn if case is not None]
    scatter = case_scatter(scores, "dice", "Dice")
    html = {name: rows_html(table, decimals) for name, (table, decimals) in _tables(comparison).items()}
    write_page(
        path,
        "compare.html",
        title=_title(contest),
        setting=setting_lines(contest, options),
        boxes=figure_uri(box_plots(scores, {"dice": "Dice", "nsd": f"NSD at {options.tolerance_mm:g} mm"})),
        scatter=figure_uri(scatter) if scatter else None,
        worst=rows_html(worst.rename(columns={"method": "lowest Dice by"}), 3),
        overlay=figure_uri(draw_overlay(drawn)) if drawn else None,
        counts_note=COUNTS_NOTE,
        tests_note=TESTS_NOTE,
        costs_note=COSTS_NOTE,
        **html,
    )
