"""Two cases, two classes, two seeds; the averages are worked out by hand."""

from math import inf, nan

import pandas as pd
import pytest

from msam_nn.evaluation.clicks.summary import (
    MEAN_OF_CLASSES,
    absences,
    areas,
    durations,
    effort,
    scores_at,
    setbacks,
    to_markdown,
)
from msam_nn.metrics.click_curves import describe_curves


def curve(case, label, seed, dice, true_voxels=9, strategy="uniform"):
    return [
        {"case": case, "label": label, "strategy": strategy, "seed": seed, "clicks": n, "dice": d, "iou": d / 2,
         "nsd": d, "hd95": inf if d == 0 else 10 - 10 * d, "seconds": 3.0 if n == 0 else 1.0 / n,
         "true_voxels": true_voxels}
        for n, d in enumerate(dice)
    ]  # fmt: skip


@pytest.fixture
def scores():
    return pd.DataFrame(
        curve("one", "a", 0, [0.2, 0.4, 0.8, 0.8, 0.8, 0.8])
        + curve("one", "a", 1, [0.2, 0.6, 0.9, 0.9, 0.9, 0.9])
        + curve("two", "a", 0, [0.0, 0.1, 0.1, 0.1, 0.1, 0.1])
        + curve("two", "a", 1, [0.0, 0.1, 0.1, 0.1, 0.1, 0.3])
        + curve("one", "b", 0, [1.0] * 6)
        + curve("one", "b", 1, [1.0] * 6)
        + curve("two", "b", 0, [0.0, nan, nan, nan, nan, nan], true_voxels=0)
    )


def test_mean_over_seeds_then_cases_then_classes(scores):
    table = scores_at(scores, "dice")
    assert table.columns.tolist() == [0, 1, 3, 5]
    assert table.loc[("uniform", "a")].tolist() == pytest.approx([0.1, 0.3, 0.475, 0.525])
    assert table.loc[("uniform", "b")].tolist() == [1, 1, 1, 1]  # case two does not have it
    assert table.loc[("uniform", MEAN_OF_CLASSES)].tolist() == pytest.approx([0.55, 0.65, 0.7375, 0.7625])


@pytest.mark.parametrize(("most", "shown"), [(2, [0, 1, 2]), (4, [0, 1, 3, 4]), (5, [0, 1, 3, 5])])
def test_the_last_clicks_are_shown(scores, most, shown):
    assert scores_at(scores[scores["clicks"] <= most], "dice").columns.tolist() == shown


def test_the_median_takes_infinite_distances(scores):
    assert scores_at(scores, "hd95", "median").loc[("uniform", "a"), 1] == pytest.approx((5 + 9) / 2)
    assert scores_at(scores, "hd95", "median").loc[("uniform", "a"), 0] == inf


def test_one_class_needs_no_mean_of_classes(scores):
    assert scores_at(scores[scores["label"] == "a"], "dice").index.tolist() == [("uniform", "a")]


def test_effort_counts_failures_with_the_most_clicks(scores):
    table = effort(describe_curves(scores), 5)
    # 0.80 after 2 and 2 clicks, and twice never; 0.90 after 2, and three times never.
    assert table.loc[("uniform", "a"), "Dice 0.80"] == "3.5 (50% fail)"
    assert table.loc[("uniform", "a"), "Dice 0.90"] == "4.2 (75% fail)"
    assert table.loc[("uniform", "b")].tolist() == ["0.0 (0% fail)"] * 3


def test_areas_and_their_spread_over_seeds(scores):
    table = areas(describe_curves(scores))
    assert table.loc[("uniform", "a"), "Dice final"] == pytest.approx((0.85 + 0.2) / 2)
    # Seed 0: (0.8 + 0.1) / 2, seed 1: (0.9 + 0.3) / 2; their difference over the square root of two.
    assert table.loc[("uniform", "a"), "sd of Dice final over seeds"] == pytest.approx(0.15 / 2**0.5)
    assert table.loc[("uniform", "b"), "Dice AUC"] == 4


def test_setbacks_are_clicks_after_which_dice_falls():
    scores = pd.DataFrame(
        curve("one", "a", 0, [0.2, 0.5, 0.499, 0.499, 0.7]) + curve("two", "a", 0, [0.9, 0.6, 0.8, 0.8])
    )
    assert setbacks(scores).loc[("uniform", "a")].tolist() == pytest.approx([2 / 7, 1 / 7, (0.001 + 0.3) / 2])
    assert setbacks(scores[scores["case"] == "one"].head(2)).loc[("uniform", "a"), "share of rounds"] == 0


def test_a_case_falls_where_the_mean_of_its_classes_does():
    of_one = {"a": [0.5, 0.4, 0.6], "b": [0.5, 0.7, 0.3]}  # their mean: 0.5, 0.55, 0.45
    scores = pd.DataFrame([row for label, dice in of_one.items() for row in curve("one", label, 0, dice)])
    scores = pd.concat([scores, pd.DataFrame(curve("two", "a", 0, [0.1, 0.2, 0.3]))], ignore_index=True)
    table = setbacks(scores).loc["uniform"]
    assert table["share of rounds"].to_dict() == pytest.approx({"a": 1 / 4, "b": 1 / 2, "mean of classes": 1 / 4})
    assert table.loc["mean of classes", "mean fall of Dice"] == pytest.approx(0.1)


def test_durations_tell_first_and_later_clicks_apart(scores):
    assert durations(scores).loc["uniform"].tolist() == [3, 1, pytest.approx((1 / 3 + 1 / 4) / 2)]


def test_absent_classes_are_counted(scores):
    assert absences(scores) == (
        "Not counted above: 1 times a case does not have a class; 1 of them with a false finding after 0 clicks."
    )
    assert absences(scores[scores["true_voxels"] > 0]) == ""


def test_the_summary_names_its_protocol(scores):
    text = to_markdown(scores, title="Dataset", protocol="a crop, not comparable", tolerance_mm=2)
    assert text.startswith("# Dataset\n\nProtocol: a crop, not comparable. 2 cases")
    assert "Clicks after which Dice falls" in text
    assert "NSD at 2 mm" in text and "Area under the curve" in text and "Not counted above" in text


def test_without_five_clicks_there_is_no_area(scores):
    text = to_markdown(scores[scores["clicks"] < 3], title="Dataset", protocol="volume", tolerance_mm=1)
    assert "Area under" not in text and "count with 2 clicks" in text
