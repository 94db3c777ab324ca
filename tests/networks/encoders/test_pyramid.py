import pytest
import torch
from torch import nn

from msam_nn.networks.encoders.pyramid import ConvPyramid, pyramid_strides, pyramid_widths


@pytest.mark.parametrize(
    ("tokens", "strides"),
    [
        ((4, 4, 4), [(1, 1, 1), (2, 2, 2), (4, 4, 4)]),
        ((4, 8, 16), [(1, 1, 1), (1, 1, 2), (1, 2, 4), (2, 4, 8), (4, 8, 16)]),
    ],
)
def test_axes_with_small_tokens_halve_later(tokens, strides):
    assert pyramid_strides(tokens) == strides
    for level, divisor in ((-2, 2), (-3, 4)):
        assert strides[level] == tuple(t // divisor for t in tokens)


def test_the_last_width_counts_for_deeper_levels():
    assert pyramid_widths((8, 16), (16, 16, 16)) == [8, 16, 16, 16, 16]
    assert pyramid_widths((8, 16, 32, 64), (4, 4, 4)) == [8, 16, 32]
    assert pyramid_widths((), (4, 4, 4)) == []


def test_levels_from_voxels_to_tokens():
    pyramid = ConvPyramid(2, (3, 5), (4, 8, 8), embed_dim=7)
    levels = pyramid(torch.randn(1, 2, 8, 16, 24))
    assert [tuple(level.shape[1:]) for level in levels] == [(3, 8, 16, 24), (5, 8, 8, 12), (5, 4, 4, 6), (5, 2, 2, 3)]
    assert pyramid.embed(levels[-1]).shape == (1, 7, 2, 2, 3)


def test_single_voxels_have_one_convolution_and_coarser_levels_two():
    pyramid = ConvPyramid(1, (3, 5), (4, 4, 4), embed_dim=7)
    assert [sum(isinstance(layer, nn.Conv3d) for layer in level) for level in pyramid.levels] == [1, 2, 2]
