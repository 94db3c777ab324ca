import pytest
import torch

pytest.importorskip("monai", reason='needs MONAI: pip install "msam_nn[baselines]"')
from msam_nn.networks.baselines.sam3d import SAM3D  # noqa: E402
from msam_nn.networks.baselines.sam_trunk import grey_slices  # noqa: E402


def network(**changes):
    torch.manual_seed(0)
    return SAM3D(**{**dict(in_channels=2, out_channels=3, patch_size=(3, 32, 48), trunk="tiny"), **changes})


def test_every_channel_of_every_slice_is_a_grey_picture():
    image = torch.randn(2, 2, 3, 16, 32)
    slices = grey_slices(image)
    assert slices.shape == (2 * 2 * 3, 3, 16, 32)
    assert torch.equal(slices[1 * 6 + 1 * 3 + 2], image[1, 1, 2].expand(3, -1, -1))


def test_deep_supervision_halves_slices_and_keeps_their_number():
    model, image = network(), torch.randn(1, 2, 3, 32, 48)
    assert model(image).shape == (1, 3, 3, 32, 48)
    model.deep_supervision = True
    assert [tuple(x.shape[2:]) for x in model(image)] == [(3, 32, 48), (3, 16, 24), (3, 8, 12)]


def test_the_decoder_sees_neighbouring_slices_and_each_channel():
    """The encoder treats slices alone, so what a slice changes elsewhere passed the 3D decoder."""
    model, image = network().eval(), torch.randn(1, 2, 3, 32, 48, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(image)[0, 0, 1].sum(), image)
    assert (gradient.abs().sum((-1, -2)) > 0).all()


@pytest.mark.parametrize(("trunk", "tuned", "total"), [("vit_b", 1.88, 91.55)])
def test_as_many_parameters_as_published(trunk, tuned, total):
    """M-SAM's Table 1 (arXiv 2403.05912): 1.88 M tuned of 91.88 M."""
    with torch.device("meta"):
        model = network(in_channels=1, out_channels=2, patch_size=(64, 160, 160), trunk=trunk)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    assert sum(n for n, trains in sizes if trains) / 1e6 == pytest.approx(tuned, abs=0.005)
    assert sum(n for n, _ in sizes) / 1e6 == pytest.approx(total, abs=0.005)
