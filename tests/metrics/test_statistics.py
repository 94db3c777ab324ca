import numpy as np
import pandas as pd
import pytest

from msam_nn.metrics.statistics import bootstrap_interval, case_mean, holm, paired_tests, side_by_side, wilcoxon

NAN = np.nan


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; no step may go down."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])


def test_holm_does_not_count_tests_that_were_not_made():
    adjusted = holm([0.01, NAN, 0.2])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.2]) and np.isnan(adjusted[1])


def test_mean_over_cases_then_classes():
    assert case_mean(np.array([[1.0, 0.0], [0.0, NAN], [0.5, NAN]])) == pytest.approx((0.5 + 0.0) / 2)
    assert np.isnan(case_mean(np.full((3, 1), NAN)))


def test_interval_of_two_cases_is_their_range():
    """A quarter of all resamples draws each case twice, more than the 2.5 % outside the interval."""
    assert bootstrap_interval(np.array([[0.2], [0.6], [NAN]])) == pytest.approx((0.2, 0.6))


def test_interval_near_the_normal_one():
    values = np.random.default_rng(0).normal(0.7, 0.1, (400, 1))
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)


def test_interval_draws_whole_cases():
    """Two classes that err in opposite ways cancel in every case, so their mean has no spread."""
    first = np.random.default_rng(0).random(20)
    assert bootstrap_interval(np.stack([first, 1 - first], axis=1)) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("values", [[], [0.5], [0.5, NAN]])
def test_no_interval_without_two_cases(values):
    assert np.isnan(bootstrap_interval(np.array(values, float).reshape(-1, 1))).all()


def test_wilcoxon_by_hand():
    """Six positive differences: both tails of 2^6 sign patterns."""
    assert wilcoxon(np.arange(1.0, 7.0)) == pytest.approx(2 / 64)
    assert wilcoxon(np.zeros(5)) == 1
    assert np.isnan(wilcoxon(np.zeros(0)))


def test_pairs_are_matched_by_case_and_undefined_ones_left_out():
    a = {"method": "A", "case": list("pqrst"), "label": "tumour", "dice": [0.9, 0.8, 0.7, NAN, 0.5]}
    b = {"method": "B", "case": list("srqp"), "label": "tumour", "dice": [NAN, 0.5, 0.6, 0.7]}
    tests = paired_tests(pd.concat([pd.DataFrame(a), pd.DataFrame(b)]), ["dice"])
    assert len(tests) == 1
    row = tests.iloc[0]
    assert (row["first"], row["second"], row["cases"]) == ("A", "B", 3)
    assert row["difference"] == pytest.approx(0.2)
    assert row["p"] == row["p_holm"] == pytest.approx(0.25)


def test_false_alarms_cost_the_method_that_gives_them():
    """Twenty tumours, on which B is better by 0.001, and ten healthy cases, on which it finds something: its mean
    difference is (20 * 0.001 - 10) / 30."""
    cases = range(30)
    a = pd.DataFrame({"method": "A", "case": cases, "label": "tumour", "dice": [0.8] * 20 + [NAN] * 10})
    b = pd.DataFrame({"method": "B", "case": cases, "label": "tumour", "dice": [0.801] * 20 + [0.0] * 10})
    (row,) = paired_tests(pd.concat([b, a]), ["dice"]).to_dict("records")
    assert (row["first"], row["cases"]) == ("B", 30) and row["difference"] == pytest.approx(-9.98 / 30)


def test_side_by_side_are_the_cases_that_all_have():
    """p: A is rightly empty; q: both are, which tells nothing; r: B lacks it."""
    a = pd.DataFrame({"method": "A", "case": list("pqr"), "dice": [NAN, NAN, 0.5]})
    b = pd.DataFrame({"method": "B", "case": list("pq"), "dice": [0.0, NAN]})
    table = side_by_side(pd.concat([a, b]), "dice")
    assert table.index.to_list() == ["p"] and table.loc["p"].to_dict() == {"A": 1.0, "B": 0.0}
