"""Practising clicks: many of them on the features of one image, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from msam_nn.networks import PromptableNetwork
from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.decoding.neighbourhood import sample_each
from msam_nn.networks.promptable import PADDING, Points
from msam_nn.prompts import CarefulClicks
from msam_nn.prompts.simulation import largest_error_clicks, sample_error_clicks
from msam_nn.trainers.clicks.loss import weighted_loss
from msam_nn.trainers.targets import Targets

UPDATES_PER_EPOCH = 250
"""Updates of an epoch at most; a step makes one a round and takes as much longer than one without."""

TRIED = 3
"""Clicks that are tried on each mask of a session: the user's, with which it goes on, and others."""

NEAR = 3
"""Voxels, along each axis, from a voxel drawn from an error to the end of the part in whose centre is clicked."""


@dataclass(frozen=True)
class PracticeRecipe:
    """What a practice spends its time on.

    Arguments:
        rounds: clicks of the user on each class of an image. Many save time where an image takes long to encode; few
            leave time for more images.
        spoiled: weight of a cell that was right before the click.
    """

    rounds: int = 5
    spoiled: float = 2.2

    @property
    def steps_per_epoch(self) -> int:
        return UPDATES_PER_EPOCH // self.rounds


def practise(
    network: PromptableNetwork,
    features: Any,
    targets: Targets,
    user: CarefulClicks,
    recipe: PracticeRecipe,
    classes: Tensor | None = None,
) -> Iterator[Tensor]:
    """Losses of one round of clicks after the other; gradients reach the network around clicks alone.

    Between two losses the weights may change: the session goes on with the newest.

    Arguments:
        network: with initial masks.
        features: of an image, without gradient.
        user: makes the session's clicks. recipe: how many, and how they are judged.
        classes: those refined, whose targets these are; None for all.
    """
    with torch.no_grad():
        state = network.refine(features, None, None, classes)
    for _ in range(recipe.rounds):
        with torch.no_grad():
            before = network.masks(state)
            error = user.error(before)
            users = user.click(error)
            state = network.refine(features, users, state, classes)
        others = [_elsewhere(error, user) for _ in range(TRIED - 1)]
        tried = Points(*(torch.cat(parts, dim=1) for parts in zip(users, *others, strict=True)))
        yield practice_loss(network, features, before, targets, tried, recipe.spoiled, classes)


def practice_loss(
    network: PromptableNetwork,
    features: Any,
    before: Tensor,
    targets: Targets,
    clicks: Points,
    spoiled: float,
    classes: Tensor | None = None,
) -> Tensor:
    """Cross-entropy and Dice loss in the cells around clicks, the mean over clicks weighted by how far each reaches.

    A mask is right where it is above its best rival. A cell counts as the square root of the fading of corrections, and
    ``spoiled`` times as much if it was right before.

    Arguments:
        before: mask logits ``(B, K, D, H, W)``.
        clicks: ``(B, n K, 1, ...)``: n clicks a class, each tried by itself.
        spoiled: :attr:`PracticeRecipe.spoiled`.
    """
    times = clicks.labels.shape[1] // before.shape[1]
    rivals = features.rivals if classes is None else features.rivals[:, classes]
    before, rivals, truth = (x.repeat(1, times, 1, 1, 1) for x in (before, rivals, targets.masks))
    following = follow_points(before, clicks, unit=network.voxels_per_length)
    look = network.neighbourhood.look(
        features.around,
        before,
        following.masks,
        rivals,
        clicks.points[:, :, 0],
        clicks.labels[:, :, 0],
        following.widths[:, :, 0],
        following.heights[:, :, 0],
    )
    valid = torch.ones_like(truth) if targets.valid is None else targets.valid.expand_as(truth)
    cells = sample_each(torch.stack([before, truth.float(), valid.float()], dim=2), look.places)
    own, target, valid = cells.unbind(2)
    was_right = (own > look.rival) == (target > 0.5)
    weight = look.fading.sqrt() * torch.where(was_right, spoiled, 1.0) * valid
    margin = (look.followed + look.added - look.rival).float()
    cross_entropy = F.binary_cross_entropy_with_logits(margin, target, reduction="none")
    reach = following.widths[:, :, 0].prod(-1) ** (1 / 3) * (clicks.labels[:, :, 0] != PADDING)
    return weighted_loss(cross_entropy, margin.sigmoid(), target, weight, reach)


def _elsewhere(error: Tensor, user: CarefulClicks) -> Points:
    """One click a class in the centre of the error near a voxel that is drawn from it."""
    drawn = sample_error_clicks(error, user.target, user.generator).points[:, :, 0]
    z, y, x = (
        (torch.arange(extent, device=drawn.device) - drawn[..., axis, None]).abs() <= NEAR
        for axis, extent in enumerate(error.shape[2:])
    )
    near = z[..., :, None, None] & y[..., None, :, None] & x[..., None, None, :]
    return largest_error_clicks(error & near, user.target, user.spacing)
