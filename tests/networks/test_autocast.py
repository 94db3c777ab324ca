"""Clicks under autocast as a CUDA device has it: there einsum, too, gives half precision, and stages of prediction take
masks in float32."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from msam_nn.networks import MSAMConfig, Points
from msam_nn.networks.msam import build
from msam_nn.networks.msam_unet import MSAMUNet

PATCH = (16, 16, 16)
SIZES = dict(embed_dim=24, depth=1, num_heads=2, decoder_dim=24, decoder_heads=2, decoder_mlp_dim=24, adapter_heads=2)


def correcting():
    options = dict(patch_size=PATCH, token_size=(8, 8, 8), pyramid=(4, 6, 8, 10), initial_masks=True, n_auto_stages=1)
    return build(MSAMConfig(1, 2, **SIZES, **options))


def on_a_unet():
    conv = dict(conv_bias=True, norm_op=torch.nn.InstanceNorm3d, nonlin=torch.nn.LeakyReLU)
    unet = PlainConvUNet(1, 3, (4, 8, 8), torch.nn.Conv3d, 3, (1, 2, 2), 1, 3, 1, **conv)
    return MSAMUNet(unet, patch_size=PATCH, num_outputs=3, background=True, spacing=(1, 1, 1))


@pytest.fixture
def autocast(monkeypatch):
    exact = torch.einsum

    def einsum(equation, *operands):
        half = torch.is_autocast_enabled("cpu")
        return exact(equation, *(x.bfloat16() if half and x.is_floating_point() else x for x in operands))

    monkeypatch.setattr(torch, "einsum", einsum)
    return torch.autocast("cpu", torch.bfloat16, cache_enabled=False)


@pytest.mark.parametrize("make", [correcting, on_a_unet])
@pytest.mark.parametrize("practised", [False, True])
def test_a_click_moves_masks_of_either_precision(autocast, make, practised):
    torch.manual_seed(0)
    network = make().eval()
    network.neighbourhood.set_practised(practised)
    clicks = Points(torch.tensor([[[[8, 8, 8]], [[4, 4, 4]]]]), torch.tensor([[[1], [-1]]]))
    masks = torch.full((1, 2, *PATCH), -3.0)
    masks[:, :, :4] = 3.0
    with torch.no_grad(), autocast:
        features = network.encode(torch.randn(1, 1, *PATCH))
        for before in (masks, masks.to(network.masks(network.refine(features, None, None)).dtype)):
            after = network.masks(network.refine(features, clicks, network.resume(before)))
            assert after[0, 0, 8, 8, 8] > 0 and torch.equal(after[:, 1].float(), masks[:, 1])


@pytest.mark.parametrize("make", [correcting, on_a_unet])
def test_what_ran_without_gradient_before_still_learns(autocast, make):
    """The third stage of a session whose second is silent, in one context of autocast."""
    torch.manual_seed(0)
    network = make().train()
    clicks = Points(torch.full((1, 2, 1, 3), 8), torch.ones(1, 2, 1, dtype=torch.long))
    with autocast:
        outputs = network(torch.randn(1, 1, *PATCH), lambda stage, masks: clicks if stage else None, 3, silent=range(2))
        stages = outputs[1] if isinstance(outputs, tuple) else outputs
        loss = stages[-1].float().pow(2).mean()
    loss.backward()
    assert any(p.grad is not None for p in network.neighbourhood.parameters())
