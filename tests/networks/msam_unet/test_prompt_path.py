"""The prompt path by itself, on random features of a small U-Net."""

import pytest
import torch

from msam_nn.networks.msam_unet.prompt_path import DIM, WIDTHS, FinestMix, PromptPath

PATCH, STRIDES, CHANNELS = (8, 16, 16), [(1, 1, 1), (1, 2, 2), (2, 2, 2)], [4, 6, 10]
"""The first way down leaves the first axis alone, as nnU-Net's anisotropic plans do."""


@pytest.fixture
def path():
    torch.manual_seed(0)
    return PromptPath(patch_size=PATCH, strides=STRIDES, channels=CHANNELS, num_classes=3)


@pytest.fixture
def features():
    grids = [PATCH, (8, 8, 8), (4, 4, 4)]
    return [torch.randn(2, c, *grid) for c, grid in zip(CHANNELS, grids, strict=True)]


def arguments(n):
    points = torch.tensor([[[4.0, 8.0, 8.0]]]).repeat(n, 1, 1)
    labels = torch.ones(n, 1, dtype=torch.long)
    masks, clicks = torch.randn(n, 1, *PATCH), torch.rand(n, 2, *PATCH)
    return points, labels, masks, clicks


def test_adds_nothing_at_the_start(path, features):
    added = path(path.image_half(features), *arguments(2), torch.tensor([0, 1]))
    assert added.shape == (2, 1, *PATCH)
    assert (added == 0).all()


def test_several_classes_of_several_images_are_what_each_is_by_itself(path, features):
    torch.nn.init.normal_(path.out.weight)
    torch.nn.init.normal_(path.class_embedding)
    points, labels, masks, clicks = arguments(6)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    together = path(path.image_half(features), points, labels, masks, clicks, classes)
    for image in range(2):
        half = path.image_half([level[image : image + 1] for level in features])
        for index in range(3):
            at = slice(3 * image + index, 3 * image + index + 1)
            alone = path(half, points[at], labels[at], masks[at], clicks[at], classes[at])
            assert torch.allclose(alone, together[at], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_every_weight_that_trains_gets_a_gradient(path, features):
    torch.nn.init.normal_(path.out.weight)
    path(path.image_half(features), *arguments(2), torch.tensor([0, 1])).square().sum().backward()
    lacking = [name for name, p in path.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def test_image_halves_are_as_wide_as_their_levels(path, features):
    *_, coarse, fine = path.image_half(features)
    assert coarse.shape == (2, WIDTHS[1], 8, 8, 8)
    assert fine.shape == (2, WIDTHS[0], *PATCH)
    assert path.neck.out_channels == DIM


def test_the_finest_level_is_pointwise():
    """By hand: one channel from below 2, of the image -5, of the prompt 0.5 x 4, so -1; leaky -0.01. A voxel beside it
    takes no notice."""
    mix = FinestMix(channels=1, width=1, prompt_width=1)
    mix.prompts.weight.data.fill_(0.5)
    below, image, prompts = torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1, 2)
    below[..., 0], image[..., 0], prompts[..., 0] = 2, -5, 4
    assert torch.allclose(mix(below, image, prompts), torch.tensor([[[[[-0.01, 0.0]]]]]))
