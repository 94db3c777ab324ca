import math

import pytest
import torch

from msam_nn.networks.masksam.semantics import region_logits, softmax_logits

NEVER = -100.0


def one_voxel(classes: list[list[float]], masks: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of queries with these class probabilities ("no object" last) and mask probabilities."""
    return torch.tensor(classes).log(), torch.logit(torch.tensor(masks))[:, None, None]


def test_softmax_gives_back_the_normalised_scores():
    """Scores 0.5 * 0.8 + 0.2 * 0.5 = 0.5 and 0.25 * 0.8 + 0.6 * 0.5 = 0.5; then one of 0.5 against 0.25."""
    logits = softmax_logits(*one_voxel([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]], [0.8, 0.5]))
    torch.testing.assert_close(logits.flatten(), torch.full((2,), math.log(0.5)))
    logits = softmax_logits(*one_voxel([[0.5, 0.25, 0.25]], [0.8]))
    torch.testing.assert_close(logits.softmax(0).flatten(), torch.tensor([2 / 3, 1 / 3]))


def test_agreeing_queries_count_more_than_one():
    logits = softmax_logits(*one_voxel([[0.9, 0.05, 0.05]] * 3, [0.9] * 3))
    torch.testing.assert_close(logits.exp().flatten(), torch.tensor([2.43, 0.135]))


def test_regions_are_what_at_least_one_query_finds():
    logits = region_logits(*one_voxel([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]], [0.8, 0.5]))
    expected = torch.tensor([1 - 0.6 * 0.9, 1 - 0.8 * 0.7])
    torch.testing.assert_close(logits.sigmoid().flatten(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_nothing_found(dtype):
    """Every query certain of no object, or every mask empty: no region, and no preference among classes."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 3, 5, 4, generator=generator).to(dtype)
    masks = torch.randn(2, 3, 5, 6, 7, generator=generator).to(dtype)
    nothing = torch.full_like(classes, NEVER)
    nothing[..., -1] = -NEVER
    for arguments in ((nothing, masks), (classes, torch.full_like(masks, NEVER))):
        regions, softmax = region_logits(*arguments), softmax_logits(*arguments)
        assert regions.shape == softmax.shape == (2, 3, 3, 6, 7)
        assert (regions < 0).all()
        torch.testing.assert_close(softmax.softmax(-3), torch.full_like(softmax, 1 / 3))


def test_float16_holds_them_and_they_sum_to_one():
    generator = torch.Generator().manual_seed(0)
    classes = 20 * torch.randn(4, 6, 18, generator=generator)
    masks = 40 * torch.randn(4, 6, 8, 8, generator=generator)
    softmax, regions = softmax_logits(classes, masks), region_logits(classes, masks)
    torch.testing.assert_close(softmax.softmax(1).sum(1), torch.ones(4, 8, 8))
    p = classes.softmax(-1)[..., :-1]
    scores = torch.einsum("bnc,bnhw->bchw", p, masks.sigmoid()).clamp_min(1e-6)
    torch.testing.assert_close(softmax.softmax(1), scores / scores.sum(1, keepdim=True))
    assert softmax.half().isfinite().all() and regions.half().isfinite().all()
    assert regions.sigmoid().min() >= 0.9e-4 and regions.sigmoid().max() <= 1 - 0.9e-4
