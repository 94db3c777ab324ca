import pytest
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.trainers.optimisation import (
    PRACTICE_BEGINS,
    PRACTICE_RATE,
    GroupPolyLRScheduler,
    PracticePolyLRScheduler,
    StepLRScheduler,
    parameter_groups,
)

GRID = dict(patch_size=(8, 8, 8), token_size=(4, 4, 4))


def names(model, parameters):
    ids = {id(p) for p in parameters}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def test_only_matrices_decay(tiny_sizes):
    model = MSAM(MSAMConfig(1, 1, **tiny_sizes, **GRID))
    decay, keep = (group["params"] for group in parameter_groups(model, 0.1))
    decayed, kept = names(model, decay), names(model, keep)
    assert "image_encoder.blocks.0.attn.qkv.weight" in decayed
    assert "image_encoder.patch_embed.proj.weight" in decayed
    for name in (
        "image_encoder.pos_embed",
        "image_encoder.blocks.0.attn.rel_pos_d",
        "image_encoder.blocks.0.norm1.weight",
        "image_encoder.blocks.0.attn.qkv.bias",
        "mask_decoder.mask_tokens.weight",
        "class_embedding",
    ):
        assert name in kept
    assert decayed | kept == {name for name, _ in model.named_parameters()}


def test_frozen_parameters_are_in_no_group(tiny_sizes):
    model = MSAM(MSAMConfig(1, 1, lora_rank=2, **tiny_sizes, **GRID))
    listed = {name for group in parameter_groups(model, 0.1) for name in names(model, group["params"])}
    assert "image_encoder.blocks.0.attn.qkv.lora_a_q.weight" in listed
    assert "image_encoder.blocks.0.attn.qkv.weight" not in listed


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1), (119, 1), (120, 0.1), (179, 0.1), (180, 0.01), (199, 0.01)])
def test_learning_rate_drops_where_the_paper_drops_it(epoch, factor):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=8e-4)
    scheduler = StepLRScheduler(optimizer, 8e-4, 200)
    scheduler.step(epoch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(8e-4 * factor)
    assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]


def test_clicks_are_practised_at_a_rate_of_their_own():
    rest, practised = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [rest]}, {"params": [practised], "practises": True}], lr=1.0)
    schedule = PracticePolyLRScheduler(optimizer, 1e-3, 100)

    def rates(epoch):
        schedule.step(epoch)
        return [group["lr"] for group in optimizer.param_groups]

    begins = round(100 * PRACTICE_BEGINS)
    assert rates(0) == [1e-3, 1e-3]
    assert rates(begins / 3) == pytest.approx([1e-3 * (2 / 3) ** 0.9] * 2)
    assert rates(begins - 1e-9) == pytest.approx([0, 0], abs=1e-9)
    assert rates(begins) == pytest.approx([0, PRACTICE_RATE])
    assert rates((begins + 100) / 2) == pytest.approx([0, PRACTICE_RATE * 0.5**0.9])
    assert rates(100) == pytest.approx([0, 0])


@pytest.mark.parametrize("schedule", [GroupPolyLRScheduler, PracticePolyLRScheduler])
def test_a_group_may_learn_faster(schedule):
    rest, heads = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [rest]}, {"params": [heads], "rate": 4.0}], lr=1.0)
    schedule = schedule(optimizer, 1e-3, 100)
    for epoch in (0, 30):
        schedule.step(epoch)
        slow, fast = (group["lr"] for group in optimizer.param_groups)
        assert fast == pytest.approx(4 * slow) and slow > 0


@pytest.mark.parametrize("epoch", [0, 30, 99])
def test_without_practice_the_schedule_is_nnunets(epoch):
    rates = []
    for schedule in (PolyLRScheduler, GroupPolyLRScheduler):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule(optimizer, 1e-3, 100).step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == rates[1] > 0
