import math

import pytest
import torch

from msam_nn.networks.layers.relative_position import decomposed_scores, fit_table, gather_table, sammed3d_scores

from ..golden import normal
from ..oracle import explicit_scores


def test_gather_table():
    """S = 3: row i - j + 2."""
    table = torch.arange(5.0)[:, None]
    expected = torch.tensor([[2.0, 1, 0], [3, 2, 1]])
    assert torch.equal(gather_table(table, 2, 3)[..., 0], expected)


def test_a_table_for_another_size_keeps_distances_or_is_stretched():
    """S = 3: rows of distances -2 to 2."""
    table = torch.arange(-2.0, 3)[:, None]
    assert fit_table(table, 2).flatten().tolist() == [-1, 0, 1]
    assert torch.equal(fit_table(table, 3), table)
    stretched = fit_table(table, 4).flatten()
    assert len(stretched) == 7 and stretched[3] == 0 and stretched[[0, 6]].tolist() == [-2, 2]


def test_two_axes():
    """One head, one channel, 2 x 2 tokens: the term of an axis is the query times the row of the distance."""
    q = torch.tensor([[1.0, 2], [3, 4]]).reshape(1, 1, 2, 2, 1)
    (by_row, by_column), padding = decomposed_scores(
        q, (torch.tensor([[1.0], [2], [3]]), torch.tensor([[0.0], [1], [5]]))
    )
    assert padding is None
    assert by_row[0, 0].tolist() == [[2, 1], [4, 2], [9, 6], [12, 8]]
    assert by_column[0, 0].tolist() == [[1, 0], [10, 2], [3, 0], [20, 4]]


def random_scores_input(grid, size, scale=1.0):
    q = normal(0, (2, 2, *grid, 4))
    tables = tuple(normal(1 + i, (2 * s - 1, 4)) * scale for i, s in enumerate(size))
    return q, tables, normal(9, (2, 4))


def whole_window(q, q_padding, size):
    """Queries of the whole window, the padded ones ``q_padding``, and which positions are real."""
    n, a, d, h, w, c = q.shape
    window = q_padding[:, None, None, None].expand(n, a, *size, c).clone()
    window[:, :, :d, :h, :w] = q
    real = torch.zeros(size, dtype=torch.bool)
    real[:d, :h, :w] = True
    return window, real.flatten()


GRIDS = [
    ((2, 3, 4), (3, 5, 4)),
    ((2, 3, 4), (4, 4, 4)),
    ((3, 3, 3), (4, 4, 4)),
    ((4, 2, 4), (4, 4, 4)),
    ((1, 4, 4), (4, 4, 4)),
    ((4, 4, 1), (4, 4, 4)),
]


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_decomposed_scores(grid, size):
    q, tables, q_padding = random_scores_input(grid, size)
    window, real = whole_window(q, q_padding, size)
    expected = explicit_scores(window, tables, "decomposed")[:, :, real]
    (rd, rh, rw), padding = decomposed_scores(q, tables)
    total = (rd[..., :, None, None] + rh[..., None, :, None] + rw[..., None, None, :]).flatten(3)
    torch.testing.assert_close(total, expected[..., real])
    torch.testing.assert_close(padding, expected[..., ~real].logsumexp(-1))


@pytest.mark.parametrize(("grid", "size"), [case for case in GRIDS if len(set(case[1])) == 1])
def test_sammed3d_scores(grid, size):
    q, tables, q_padding = random_scores_input(grid, size)
    window, real = whole_window(q, q_padding, size)
    expected = explicit_scores(window, tables, "sammed3d")[:, :, real]
    scores, padding = sammed3d_scores(q, tables, q_padding)
    torch.testing.assert_close(scores, expected[..., real])
    torch.testing.assert_close(padding, expected[..., ~real].logsumexp(-1))


def test_nothing_padded():
    q, tables, q_padding = random_scores_input((3, 3, 3), (3, 3, 3))
    assert decomposed_scores(q, tables)[1] is None
    assert sammed3d_scores(q, tables, q_padding)[1] is None


@pytest.mark.parametrize("form", ["decomposed", "sammed3d"])
def test_padding_far_below_the_real_positions(form):
    """The padded positions hold less than 1e-7 of the whole: a difference of sums would give nan gradients."""
    q, tables, q_padding = random_scores_input((3, 3, 3), (4, 4, 4), scale=30.0)
    q.requires_grad_()
    window, real = whole_window(q, q_padding, (4, 4, 4))
    expected = explicit_scores(window, tables, form)[:, :, real][..., ~real].logsumexp(-1)
    whole = explicit_scores(window, tables, form)[:, :, real].logsumexp(-1)
    assert (whole - expected).max() > math.log(1e7)
    padding = (decomposed_scores(q, tables) if form == "decomposed" else sammed3d_scores(q, tables, q_padding))[1]
    torch.testing.assert_close(padding, expected)
    (gradient,), (truth,) = (torch.autograd.grad(x.sum(), q) for x in (padding, expected))
    torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-3)
