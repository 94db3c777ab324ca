"""A page about a data set: what is in it, what the plan made of it, and what to mend before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msam_nn.errors import UserError
from msam_nn.inspection import figures, tables
from msam_nn.inspection.case_statistics import CaseStatistics, UnreadableCase, equally_coarse, measure_cases
from msam_nn.inspection.findings import (
    file_warnings,
    intensity_warnings,
    label_warnings,
    leakage_warnings,
    shape_warnings,
    spacing_warnings,
    token_warnings,
)
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.raw_dataset import RawDataset
from msam_nn.metrics.ellipsoid import blind_dice
from msam_nn.reports.pages import figure_uri, table_html, write_page
from msam_nn.reports.wording import volume


def check_dataset(
    dataset: RawDataset, plan: PlanFacts | None, folds: Sequence[dict] | None, output: Path, num_workers: int
) -> list[str]:
    """Read all training cases and write the page.

    Arguments:
        plan, folds: None if the data set is not planned, or not yet split.

    Returns:
        the warnings on the page.

    Raises:
        UserError: if no case can be read.
    """
    cases, unreadable = measure_cases(dataset, num_workers)
    if not cases:
        raise UserError(
            f"None of the cases of {dataset.name} can be read; {unreadable[0].name}: {unreadable[0].reason}"
        )
    blind = blind_dice_of(cases)
    warnings = all_warnings(dataset, cases, unreadable, plan, folds, blind)
    write_page(
        output,
        "check.html",
        title=f"Data set {dataset.name}",
        dataset=dataset,
        n_cases=len(cases),
        n_channels=len(dataset.channel_names),
        warnings=warnings,
        pictures=[
            (f"{size} foreground: {case.name}, {volume(case.foreground_mm3)}", figure_uri(_picture(dataset, case)))
            for size, case in example_cases(cases).items()
        ],
        intensities=figure_uri(figures.intensity_histograms(dataset, cases)),
        geometry=figure_uri(figures.geometry_spread(cases)),
        geometry_table=table_html(tables.geometry_table(cases)),
        lesions=figure_uri(figures.lesion_figure(dataset, cases, plan)),
        class_table=table_html(tables.class_table(cases)),
        smallest=table_html(tables.smallest_lesions(cases, plan)),
        extremes=table_html(tables.extreme_cases(cases)),
        all_listed=len(cases) <= 2 * tables.EXTREME_CASES,
        blind=None if blind is None else f"{np.nanmean(blind):.3f}",
        plan=plan,
    )
    return warnings


def _picture(dataset: RawDataset, case: CaseStatistics):
    return figures.case_picture(dataset, case.name)


def all_warnings(
    dataset: RawDataset,
    cases: Sequence[CaseStatistics],
    unreadable: Sequence[UnreadableCase],
    plan: PlanFacts | None,
    folds: Sequence[dict] | None,
    blind: np.ndarray | None,
) -> list[str]:
    """Every warning, those that stop training first."""
    return [
        *file_warnings(dataset, cases, unreadable),
        *label_warnings(dataset, cases),
        *leakage_warnings(dataset, cases, folds),
        *([] if blind is None else shape_warnings(float(np.nanmean(blind)))),
        *intensity_warnings(dataset, cases),
        *spacing_warnings(cases),
        *(token_warnings(cases, plan) if plan else []),
    ]


def example_cases(cases: Sequence[CaseStatistics]) -> dict[str, CaseStatistics]:
    """The cases with the least, the median and the most foreground; each once, none without foreground or match."""
    drawable = [case for case in cases if case.foreground_mm3 and "shape" not in case.differences]
    ordered = sorted(drawable, key=lambda case: (case.foreground_mm3, case.name))
    if not ordered:
        return {}
    chosen = {"Smallest": ordered[0], "Largest": ordered[-1]} if len(ordered) > 1 else {"Only": ordered[0]}
    if len(ordered) > 2:
        chosen = {"Smallest": ordered[0], "Median": ordered[len(ordered) // 2], "Largest": ordered[-1]}
    return chosen


def blind_dice_of(cases: Sequence[CaseStatistics]) -> np.ndarray | None:
    """Dice of an ellipsoid that never reads a voxel, per case; None for fewer than two cases with foreground."""
    masks = equally_coarse(cases)
    return blind_dice(masks) if sum(mask.any() for mask in masks) > 1 else None
