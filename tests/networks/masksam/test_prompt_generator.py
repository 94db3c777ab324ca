import pytest
import torch

from msam_nn.networks.masksam.prompt_generator import FeatureFusion, PromptHeads
from msam_nn.networks.masksam.stem import Stem


def fused_maps(voxels_per_token: int, slices: int = 2):
    torch.manual_seed(0)
    fusion = FeatureFusion(embed_dim=6, neck_dim=4, widths=(8, 7, 6, 5, 3), voxels_per_token=voxels_per_token)
    maps = [torch.randn(2, 6, slices, 2, 3) for _ in range(4)]
    return fusion(torch.randn(2, 4, slices, 2, 3), maps)


@pytest.mark.parametrize(
    ("voxels_per_token", "scales"), [(16, (1, 2, 4, 8, 16)), (8, (1, 2, 4, 8, 8)), (4, (1, 2, 4, 4, 4))]
)
def test_maps_double_until_they_are_voxels(voxels_per_token, scales):
    expected = [(2, width, 2, 2 * s, 3 * s) for width, s in zip((8, 7, 6, 5, 3), scales, strict=True)]
    assert [tuple(x.shape) for x in fused_maps(voxels_per_token)] == expected


@pytest.mark.parametrize("upsampling", [1, 2, 4])
def test_stem(upsampling):
    stem = Stem(5, upsampling)
    assert stem(torch.randn(2, 5, 3, 8, 12)).shape == (2, 3, 3, 8 * upsampling, 12 * upsampling)


def heads(**changes) -> PromptHeads:
    torch.manual_seed(1)
    return PromptHeads(**{**dict(widths=(8, 7, 6, 5, 3), n_queries=5, dim=16), **changes})


@pytest.mark.parametrize("n_queries", [1, 5])
@pytest.mark.parametrize("slices", [1, 2])
def test_shapes_and_order_of_box_corners(n_queries, slices):
    prompts = heads(n_queries=n_queries)(fused_maps(16, slices))
    assert prompts.mask_logits.shape == (2, n_queries, slices, 32, 48)
    assert prompts.tokens.shape == (2, n_queries, slices, 16)
    assert prompts.boxes.shape == (2, n_queries, slices, 4)
    assert (prompts.boxes >= 0).all() and (prompts.boxes <= 1).all()
    assert (prompts.boxes[..., 2:] >= prompts.boxes[..., :2]).all()


def test_an_empty_mask_leaves_the_box_alone_and_a_full_one_widens_it():
    module, fused = heads(), fused_maps(4)
    with torch.no_grad():
        module.mask.weight.zero_()
        module.mask.bias.copy_(torch.tensor([-1.0, 1, -1, -1, -1]))
        prompts = module(fused)
        module.mask.bias.fill_(-1)
        learned = module(fused).boxes
    torch.testing.assert_close(prompts.boxes[:, [0, 2, 3, 4]], learned[:, [0, 2, 3, 4]])
    whole = torch.tensor([0.0, 0, 1, 1])
    torch.testing.assert_close(prompts.boxes[:, 1], (learned[:, 1] + whole) / 2)


def test_boxes_train_their_network_and_not_the_masks():
    module = heads()
    module(fused_maps(4)).boxes.sum().backward()
    assert module.box[0].weight.grad.abs().max() > 0 and module.query_map[0].weight.grad.abs().max() > 0
    assert module.mask.weight.grad is None
