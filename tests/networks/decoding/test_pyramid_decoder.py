import pytest
import torch

from msam_nn.networks import MSAM, Points
from msam_nn.networks.decoding.pyramid_decoder import squash
from msam_nn.networks.layers.basic import upsample

from ..golden import tiny_config, tiny_image, tiny_model

WIDTHS = (4, 6, 8)
FROZEN = {"lora_rank": 2, "freeze_encoder": True}


def click(model, voxel=(3, 5, 7)):
    shape = (2, model.num_classes, 1)
    return Points(torch.tensor(voxel).expand(*shape, 3), torch.ones(shape, dtype=torch.long))


def test_a_mask_prompt_saturates_at_two_scales():
    prompt = torch.tensor([-1e3, 0.0, 5.0, 20.0]).view(4, 1, 1, 1, 1)
    clicks = torch.tensor([0.0, 1.0, -1.0, 0.5]).view(4, 1, 1, 1, 1)
    expected = torch.tensor([[-1, -1, 0], [0, 0, 1], [1.0, 0.25, -1], [4.0, 1.0, 0.5]])
    expected[2:, :2] = expected[2:, :2].tanh()
    torch.testing.assert_close(squash(prompt, clicks)[:, :, 0, 0, 0], expected)


@pytest.mark.parametrize("token", [4, 8, 16])
@pytest.mark.parametrize("num_classes", [1, 3])
def test_masks_are_as_fine_as_the_image(token, num_classes):
    """Masks hold more than the mask grid can, unless its cells are voxels."""
    patch = (2 * token, token, token)
    model = tiny_model(patch_size=patch, token_size=(token,) * 3, pyramid=WIDTHS, num_classes=num_classes)
    image = tiny_image(model)
    stages = model(image, lambda stage, masks: click(model), 2)
    assert [tuple(s.shape) for s in stages] == [(2, num_classes + 1, *patch)] * 2
    masks = stages[-1][:, 1:]
    coarse = upsample(upsample(masks, model.config.mask_size), patch)
    assert (token == 4) == torch.allclose(masks, coarse, atol=1e-4)


def test_a_frozen_encoder_starts_as_the_released_network():
    torch.manual_seed(0)
    released = MSAM(tiny_config(**FROZEN)).eval()
    refined = MSAM(tiny_config(**FROZEN, pyramid=WIDTHS)).eval()
    report = refined.load_state_dict(released.state_dict(), strict=False)
    assert not report.unexpected_keys
    image = tiny_image(released)
    with torch.no_grad():
        both = [network(image, lambda stage, masks: click(released), 3) for network in (released, refined)]
        for stages in zip(*both, strict=True):
            torch.testing.assert_close(*stages, rtol=1e-4, atol=1e-4)


def test_every_trained_parameter_of_a_frozen_network_gets_a_gradient():
    model = tiny_model(**FROZEN, pyramid=WIDTHS)
    model.freeze_multimask_output()
    model(tiny_image(model), lambda stage, masks: click(model), 2)[-1].square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(not p.requires_grad for n, p in model.image_encoder.named_parameters() if ".lora_" not in n)
    assert all(p.requires_grad for p in model.pyramid.parameters())


def test_the_previous_mask_and_clicks_reach_the_finest_level():
    """The same coarse mask prompt, two fine ones: the fine masks differ."""
    model = tiny_model(pyramid=WIDTHS)
    features = model.encode(tiny_image(model))
    state = model.resume(torch.zeros(2, 1, *model.patch_size))
    other = state._replace(fine=torch.randn_like(state.fine))
    masks = [model.masks(model.refine(features, click(model), s)) for s in (state, other)]
    assert not torch.allclose(*masks, atol=1e-5)


def test_resuming_continues_where_a_stage_ended():
    model = tiny_model(pyramid=WIDTHS, initial_masks=True, click_sigma=0.0)
    features = model.encode(tiny_image(model))
    first = model.refine(features, click(model), None)
    resumed = model.resume(model.masks(first))
    next_masks = [model.masks(model.refine(features, click(model), state)) for state in (first, resumed)]
    torch.testing.assert_close(*next_masks, rtol=1e-4, atol=1e-4)


def test_tokens_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="pyramid needs tokens"):
        tiny_config(token_size=(8, 8, 2), pyramid=WIDTHS)


def test_corrections_reach_less_far_beside_a_pyramid():
    assert tiny_model().click_reach == (6.0, 6.0, 6.0)
    assert tiny_model(pyramid=WIDTHS).click_reach == pytest.approx((2.4, 2.4, 2.4))
