import pytest
import torch
from torch import nn

from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.following import FollowingNetwork
from msam_nn.networks.promptable import Points

PATCH, SPACING = (8, 16, 16), (2.0, 1.0, 1.0)


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return nn.Conv3d(2, 3, 3, padding=1)


@pytest.fixture(params=[True, False], ids=["classes", "regions"])
def following(unet, request):
    return FollowingNetwork(unet, patch_size=PATCH, num_outputs=3, background=request.param, spacing=SPACING).eval()


def click(k, voxel, label, index=0):
    """Of ``k`` classes one is clicked."""
    points, labels = torch.zeros(1, k, 1, 3), torch.full((1, k, 1), -1)
    points[0, index, 0], labels[0, index, 0] = torch.tensor(voxel, dtype=torch.float), label
    return Points(points, labels)


def test_without_prompts_it_is_the_network(following, unet):
    image = torch.randn(2, 2, *PATCH)
    assert torch.equal(following(image), unet(image))
    assert following.num_classes == (2 if following.background else 3)


def test_masks_are_relative_to_the_backgrounds(following, unet):
    image = torch.randn(1, 2, *PATCH)
    masks = following.masks(following.refine(following.encode(image), None, None))
    logits = unet(image)
    assert torch.equal(masks, logits[:, 1:] - logits[:, :1] if following.background else logits)


def test_a_click_moves_its_class_by_the_rule_and_no_other(following):
    masks = torch.full((1, following.num_classes, *PATCH), -2.0)
    masks[..., :8] = 3.0
    for label, voxel in ((1, (4, 8, 11)), (0, (4, 8, 4))):
        newest = click(following.num_classes, voxel, label, index=1)
        moved = following.masks(following.refine(None, newest, following.resume(masks)))
        expected = follow_points(masks, newest, unit=(1.0, 2.0, 2.0)).masks
        assert torch.equal(moved[:, 1], expected[:, 1]) and torch.equal(moved[:, 0], masks[:, 0])
        assert moved[(0, 1, *voxel)] == 2 * label - 1


def test_chosen_classes_are_what_they_are_among_all(following):
    features = following.encode(torch.randn(1, 2, *PATCH))
    last, chosen = following.num_classes - 1, torch.tensor([following.num_classes - 1])
    together = following.refine(features, click(last + 1, (1, 2, 3), 1, index=last), None)
    alone = following.refine(features, click(1, (1, 2, 3), 1), None, chosen)
    assert torch.equal(together[:, last], alone[:, 0])


def test_the_loop_begins_with_the_networks_masks(following):
    image, n = torch.randn(1, 2, *PATCH), following.num_classes
    seen = []

    def source(stage, masks):
        seen.append(masks)
        return click(n, (4, 8, 8), 1) if stage else None

    first, second = following(image, source, 2)
    assert first.shape == (1, 3, *PATCH) and seen[0] is None
    assert torch.equal(following.relative_masks(first), seen[1])
    assert following.relative_masks(second)[0, 0, 4, 8, 8] >= 1


def test_other_patches_are_refused(following):
    with pytest.raises(ValueError, match="takes images of"):
        following.encode(torch.zeros(1, 2, 8, 8, 8))
