"""The tables of ``msam check``; of many cases only the extremes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msam_nn.inspection.case_statistics import CaseStatistics
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.reports.wording import number, times

SMALLEST_LESIONS = 10
EXTREME_CASES = 5


def geometry_table(cases: Sequence[CaseStatistics]) -> pd.DataFrame:
    """Median, smallest and largest spacing and size along each axis."""
    spacing, shape = np.array([c.spacing for c in cases]), np.array([c.shape for c in cases])
    rows = {
        title: [_range(values[:, axis]) for axis in range(3)]
        for title, values in {"spacing (mm)": spacing, "size (voxels)": shape, "size (mm)": spacing * shape}.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["z", "y", "x"])


def class_table(cases: Sequence[CaseStatistics]) -> pd.DataFrame:
    """A row per class: in how many cases, how many lesions, which volumes in ml."""
    rows = {}
    for name in cases[0].lesions:
        having = [v for case in cases if len(v := case.lesions[name].volumes_mm3)]
        lesions = np.concatenate([*having, np.zeros(0)]) / 1000
        rows[name] = {
            "cases": len(having),
            "lesions": len(lesions),
            "lesions per case": _range([len(v) for v in having]),
            "ml per case": _range([v.sum() / 1000 for v in having]),
            "ml per lesion": _range(lesions),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _range(values: Sequence[float]) -> str:
    """``median (smallest – largest)``."""
    return f"{number(np.median(values))} ({number(min(values))} – {number(max(values))})" if len(values) else "–"


def smallest_lesions(cases: Sequence[CaseStatistics], plan: PlanFacts | None) -> pd.DataFrame:
    """The smallest lesions of all cases and classes: volume, also in tokens, and edges of the bounding box."""
    rows = [
        (case.name, name, mm3, times(extent))
        for case in cases
        for name, lesions in case.lesions.items()
        for mm3, extent in zip(lesions.volumes_mm3, lesions.extents_mm, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["case", "class", "mm³", "box z × y × x (mm)"])
    table = table.sort_values(["mm³", "case", "class"]).head(SMALLEST_LESIONS)
    if plan:
        table["tokens"] = (table["mm³"] / plan.token_mm3).map(number)
    table["mm³"] = table["mm³"].map(number)
    return table.set_index("case").rename_axis(None)


def extreme_cases(cases: Sequence[CaseStatistics]) -> pd.DataFrame:
    """The cases with the least and the most foreground; every case if there are few."""
    ordered = sorted(cases, key=lambda case: (case.foreground_mm3, case.name))
    if len(ordered) > 2 * EXTREME_CASES:
        ordered = ordered[:EXTREME_CASES] + ordered[-EXTREME_CASES:]
    rows = {
        case.name: {
            "voxels z × y × x": times(case.shape),
            "spacing (mm)": times(case.spacing),
            "foreground (ml)": number(case.foreground_mm3 / 1000),
            **{f"lesions: {name}": len(lesions.volumes_mm3) for name, lesions in case.lesions.items()},
        }
        for case in ordered
    }
    return pd.DataFrame.from_dict(rows, orient="index")
