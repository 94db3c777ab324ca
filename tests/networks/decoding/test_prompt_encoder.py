import math

import pytest
import torch

from msam_nn.networks.decoding.prompt_encoder import PositionalEncoding, write_clicks

from ..golden import normal, tiny_model


def test_positional_encoding_by_hand():
    """One frequency a part: c = (1, 1/2, 3/4) becomes (1, 0, 1/2), times G = (1/4, 5, 1/2) is 1/2, so v = pi."""
    encoding = PositionalEncoding(3)
    encoding.gaussian_matrix = torch.tensor([[0.25], [5.0], [0.5]])
    value = encoding(torch.tensor([1.0, 0.5, 0.75]))
    torch.testing.assert_close(value, torch.tensor([0.0, -1.0, 0.0]), atol=1e-6, rtol=0)


def test_positional_encoding_repeats_the_sine():
    encoding = PositionalEncoding(12)
    c = normal(0, (5, 3))
    v = 2 * math.pi * (2 * c - 1) @ encoding.gaussian_matrix
    torch.testing.assert_close(encoding(c), torch.cat([v.sin(), v.cos(), v.sin()], -1), atol=1e-4, rtol=0)


def test_points_and_labels():
    encoder = tiny_model().prompt_encoder
    points = torch.tensor([[[3, 5, 7], [0, 23, 31], [9, 9, 9]]])
    sparse = encoder.sparse(points, torch.tensor([[1, 0, -1]]))
    assert sparse.shape == (1, 4, 48)
    position = encoder.position(torch.tensor([[3.5 / 16, 5.5 / 24, 7.5 / 32], [0.5 / 16, 23.5 / 24, 31.5 / 32]]))
    torch.testing.assert_close(sparse[0, 0], position[0] + encoder.point_embeddings[1].weight[0])
    torch.testing.assert_close(sparse[0, 1], position[1] + encoder.point_embeddings[0].weight[0])
    for padding in sparse[0, 2:]:
        assert torch.equal(padding, encoder.not_a_point_embed.weight[0])


def test_no_points_give_one_padding_token():
    encoder = tiny_model().prompt_encoder
    sparse = encoder.sparse(torch.zeros(3, 0, 3), torch.zeros(3, 0, dtype=torch.long))
    assert torch.equal(sparse, encoder.not_a_point_embed.weight.expand(3, 1, -1))


@pytest.mark.parametrize("swap", [False, True])
def test_dense_position(swap):
    """Cell centres (i + 1/2) / g, released networks with the first two axes swapped."""
    encoder = tiny_model(swap_dense_axes=swap).prompt_encoder
    dense = encoder.dense_position()
    assert dense.shape == (2, 3, 4, 48)
    centre = [1.5 / 2, 0.5 / 3, 3.5 / 4]
    if swap:
        centre[:2] = centre[1::-1]
    torch.testing.assert_close(dense[1, 0, 3], encoder.position(torch.tensor(centre)))


def test_dense_reads_four_cells_a_token():
    encoder = tiny_model().prompt_encoder
    mask = torch.zeros(1, 1, 8, 12, 16)
    empty = encoder.dense(mask)
    mask[0, 0, 5, 3, 15] = 1
    changed = (encoder.dense(mask) != empty).any(1)
    assert changed.nonzero().tolist() == [[0, 1, 0, 3]]


def written(points, labels, **changes):
    options = {"token_size": (4, 8, 16), "mask_size": (8, 8, 8), "sigma": 1.0, "logit": 10.0, **changes}
    return write_clicks(torch.tensor(points), torch.tensor(labels), **options)


def test_written_click_peaks_in_its_cell():
    """A mask cell is (1, 2, 4) voxels, so voxel (3, 10, 27) lies in cell (3, 5, 6), off its centre on two axes.

    Cell 5 is centred between voxels 10 and 11, a quarter cell from the click; cell 6 between 25 and 26, 3/8 away.
    """
    clicks = written([[[3, 10, 27]]], [[1]])[0]
    peak = 10 * math.exp(-0.5 * (0.25**2 + 0.375**2))
    assert clicks.shape == (8, 8, 8)
    assert (clicks == clicks.max()).nonzero().tolist() == [[3, 5, 6]]
    assert clicks[3, 5, 6].item() == pytest.approx(peak)
    assert clicks[4, 5, 6].item() == pytest.approx(peak * math.exp(-0.5))


def test_written_click_on_a_centre_has_the_full_logit():
    """Token size 4: cells are voxels."""
    clicks = written([[[2, 3, 4]]], [[1]], token_size=(4, 4, 4), sigma=2.0)[0]
    assert clicks[2, 3, 4].item() == pytest.approx(10)
    assert clicks[2, 3, 6].item() == pytest.approx(10 * math.exp(-0.5))
    torch.testing.assert_close(written([[[2, 3, 4]]], [[0]], token_size=(4, 4, 4), sigma=2.0)[0], -clicks)


def test_padding_writes_nothing_and_opposites_cancel():
    assert not written([[[3, 10, 27]]], [[-1]]).any()
    cancelled = written([[[3, 10, 27], [3, 10, 27]]], [[1, 0]])
    torch.testing.assert_close(cancelled, torch.zeros_like(cancelled), rtol=0, atol=1e-6)  # fused products round
    one = written([[[3, 10, 27]]], [[1]])
    both = written([[[3, 10, 27], [0, 0, 0], [6, 2, 8]]], [[1, -1, 0]])
    torch.testing.assert_close(both, one - written([[[6, 2, 8]]], [[1]]))


def test_no_points_write_nothing():
    clicks = write_clicks(
        torch.zeros(2, 3, 0, 3), torch.zeros(2, 3, 0), token_size=(8, 8, 8), mask_size=(4, 4, 4), sigma=1.0, logit=1.0
    )
    assert torch.equal(clicks, torch.zeros(2, 3, 4, 4, 4))
