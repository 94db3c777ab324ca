import torch

from msam_nn.networks.decoding.initial_decoder import InitialDecoder
from msam_nn.networks.encoders.pyramid import ConvPyramid, pyramid_strides

TOKEN, WIDTHS = (4, 8, 8), (2, 3, 4, 5)


def decode(every_level, prior=0.0):
    torch.manual_seed(0)
    pyramid = ConvPyramid(1, WIDTHS, TOKEN, 6)
    decoder = InitialDecoder(
        dim=6, widths=pyramid.widths, strides=pyramid_strides(TOKEN), num_classes=3, mask_prior=prior
    )
    return decoder(torch.randn(2, 6, 2, 2, 1), pyramid(torch.randn(2, 1, 8, 16, 8)), every_level)


def test_features_have_the_pyramids_grids_and_widths():
    features, _ = decode(False)
    assert [tuple(f.shape[1:]) for f in features] == [(2, 8, 16, 8), (3, 8, 8, 4), (4, 4, 4, 2), (5, 2, 2, 1)]


def test_masks_of_the_finest_level_or_of_all_finer_than_tokens():
    finest, every = decode(False)[1], decode(True)[1]
    assert [tuple(m.shape[1:]) for m in every] == [(3, 8, 16, 8), (3, 8, 8, 4), (3, 4, 4, 2)]
    assert len(finest) == 1 and torch.equal(finest[0], every[0])


def test_masks_start_at_the_prior():
    assert all((masks + 3).abs().max() < 0.5 for masks in decode(True, prior=-3.0)[1])
