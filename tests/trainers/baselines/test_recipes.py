"""Schedules by hand, and that each baseline trains with its own recipe."""

import pytest
import torch
from torch import nn

from msam_nn.trainers.baselines import recipes
from msam_nn.trainers.baselines.recipes import WarmupCosineScheduler

NAMES = ("UNETR", "SWIN_UNETR", "NNFORMER", "TRANSUNET", "SAM3D", "MED_SA")


class TenthWarmup(WarmupCosineScheduler):
    warmup = 0.1


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0)],
)
def test_cosine_after_a_warm_up(epoch, rate):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    TenthWarmup(optimizer, 2.0, 100).step(epoch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * rate)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_make_their_optimizer_for_what_trains(name):
    recipe = getattr(recipes, name)
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    optimizer, schedule = recipe.make(network, 10)
    assert type(optimizer).__name__ == recipe.optimizer
    assert len(optimizer.param_groups[0]["params"]) == 2
    assert optimizer.param_groups[0]["weight_decay"] == recipe.weight_decay
    assert type(schedule) is recipe.schedule and ("arXiv" in recipe.source or "published" in recipe.source)
