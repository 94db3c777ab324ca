"""Curves worked out by hand."""

from math import isnan, nan

import pandas as pd
import pytest

from msam_nn.metrics.click_curves import area_under_curve, clicks_needed, describe_curves


@pytest.mark.parametrize(
    ("threshold", "needed"),
    [(0.80, 1), (0.85, 3), (0.90, None), (0.50, 0)],
)
def test_clicks_needed_is_the_first_that_reaches_it(threshold, needed):
    assert clicks_needed({0: 0.5, 1: 0.8, 2: 0.79, 3: 0.86}, threshold) == needed


def test_area_is_of_one_to_five_clicks_by_trapezoids():
    curve = dict(enumerate([0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
    # (0.5 + 0.9) / 2 + 0.6 + 0.7 + 0.8; clicks 0 and 6 have no part in it.
    assert area_under_curve(curve) == pytest.approx(2.8)
    assert area_under_curve(dict.fromkeys(range(6), 1.0)) == 4


@pytest.mark.parametrize("curve", [{1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}, {1: 1.0, 2: 1.0, 3: nan, 4: 1.0, 5: 1.0}])
def test_an_incomplete_curve_has_no_area(curve):
    assert isnan(area_under_curve(curve))


def rows(case, dice, nsd, true_voxels=5):
    return [
        {"case": case, "label": "a", "strategy": "centre", "seed": 0, "clicks": n, "dice": d, "nsd": s,
         "true_voxels": true_voxels}
        for n, (d, s) in enumerate(zip(dice, nsd, strict=True))
    ]  # fmt: skip


def test_curves_of_a_table():
    scores = pd.DataFrame(
        rows("good", [0.7, 0.8, 0.85, 0.85, 0.85, 0.9], [0.5] * 6)
        + rows("bad", [0, 0, 0, 0, 0, 0.4], [0] * 6)
        + rows("absent", [nan] * 6, [nan] * 6, true_voxels=0)
    )
    curves = describe_curves(scores).set_index("case")
    assert list(curves.index) == ["good", "bad"]
    assert curves.loc["good", ["needed_80", "needed_85", "needed_90"]].tolist() == [1, 2, 5]
    assert curves.loc["bad", ["needed_80", "needed_85", "needed_90"]].isna().all()
    # (0.8 + 0.9) / 2 + 3 * 0.85; (0 + 0.4) / 2
    assert curves["dice_auc"].tolist() == pytest.approx([3.4, 0.2])
    assert curves["dice_final"].tolist() == [0.9, 0.4]
    assert curves["nsd_auc"].tolist() == [2, 0] and curves["nsd_final"].tolist() == [0.5, 0]


def test_no_case_with_the_class_gives_an_empty_table():
    scores = pd.DataFrame(rows("absent", [0.0] * 6, [0.0] * 6, true_voxels=0))
    assert describe_curves(scores).empty and "dice_auc" in describe_curves(scores)
