from itertools import permutations

import pytest
import torch

from msam_nn.trainers.masksam.matching import assign


def costs_with(present, n_queries, seed=0):
    """Random costs ``(B, T, N, C)``, infinite where ``present`` ``(B, T, C)`` is False."""
    generator = torch.Generator().manual_seed(seed)
    costs = torch.rand(*present.shape[:2], n_queries, present.shape[2], generator=generator)
    return costs.masked_fill(~present.unsqueeze(2), float("inf"))


def least(costs, classes):
    """Least total cost of giving each of ``classes`` a query of its own, by trying everything."""
    if not classes:
        return 0.0
    return min(
        sum(float(costs[q, c]) for q, c in zip(queries, classes, strict=True))
        for queries in permutations(range(len(costs)), len(classes))
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_equals_brute_force(seed):
    present = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(seed)) < 0.6
    costs = costs_with(present, n_queries=5, seed=seed)
    matches = assign(costs)
    assert len(matches.slices) == int(present.sum())
    for index, (table, here) in enumerate(zip(costs.flatten(0, 1), present.flatten(0, 1), strict=True)):
        of_slice = matches.slices == index
        queries, classes = matches.queries[of_slice], matches.classes[of_slice]
        assert classes.tolist() == here.nonzero().flatten().tolist()
        assert len(set(queries.tolist())) == len(queries)
        assert float(table[queries, classes].sum()) == pytest.approx(least(table, classes.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_volumetric_matching_equals_brute_force_over_the_patch(seed):
    present = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(seed)) < 0.6
    costs = costs_with(present, n_queries=5, seed=seed)
    slices, queries, classes = assign(costs, volumetric=True)
    for b in range(2):
        of_patch = slices // 3 == b
        query_of = {}
        for query, c in zip(queries[of_patch].tolist(), classes[of_patch].tolist(), strict=True):
            assert query_of.setdefault(c, query) == query
        assert len(set(query_of.values())) == len(query_of)
        summed = torch.where(present[b].unsqueeze(1), costs[b], torch.zeros(())).sum(0)
        total = sum(float(summed[query, c]) for c, query in query_of.items())
        assert total == pytest.approx(least(summed, sorted(query_of)))


def test_slices_without_targets_match_nothing():
    matches = assign(costs_with(torch.zeros(1, 2, 3, dtype=torch.bool), n_queries=4))
    assert [part.tolist() for part in matches] == [[], [], []]


def test_more_targets_than_queries_are_refused():
    with pytest.raises(ValueError, match="5 classes need as many queries"):
        assign(costs_with(torch.ones(1, 1, 5, dtype=torch.bool), n_queries=4))
