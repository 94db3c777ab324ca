import math

import pandas as pd
import pytest

from msam_nn.metrics.ranking import cliques, critical_difference, friedman, mean_ranks


def test_ranks_by_hand_with_a_tie():
    values = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.8, 0.9], "c": [0.1, 0.2, 0.3]})
    assert mean_ranks(values).to_dict() == {"a": (1 + 1.5 + 2) / 3, "b": (2 + 1.5 + 1) / 3, "c": 3.0}


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_the_published_quantiles(methods, quantile):
    """Demšar's Table 5(a), alpha 0.05."""
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 30))
    assert critical_difference(methods, 30) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(critical_difference(1, 30))


def test_friedman_by_hand():
    """Ranks 1, 2, 3 in all of four cases: chi square 8 with 2 degrees of freedom, p = exp(-4)."""
    values = pd.DataFrame({"a": [3.0, 6, 9, 12], "b": [2.0, 5, 8, 11], "c": [1.0, 4, 7, 10]})
    assert friedman(values) == pytest.approx(math.exp(-4))
    assert math.isnan(friedman(values[["a", "b"]]))


def test_groups_are_as_large_as_they_can_be():
    ranks = pd.Series({"d": 4.0, "a": 1.0, "b": 1.5, "c": 2.0})
    assert cliques(ranks, 1.0) == [("a", "c")]
    assert cliques(ranks, 0.5) == [("a", "b"), ("b", "c")]
    assert cliques(ranks, 0.1) == [] and cliques(ranks, 9) == [("a", "d")]
