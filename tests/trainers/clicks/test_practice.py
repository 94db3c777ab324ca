"""Practised clicks on the features of a tiny network, and their loss by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from msam_nn.networks import Points
from msam_nn.networks.decoding.neighbourhood import CELLS, Look, Neighbourhood
from msam_nn.networks.msam import build
from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.prompts import CarefulClicks
from msam_nn.trainers.clicks import practice
from msam_nn.trainers.clicks.practice import TRIED, PracticeRecipe, practice_loss, practise
from msam_nn.trainers.targets import Targets

RECIPE = PracticeRecipe()
SPOILED = 3.0
CORRECTING = dict(
    patch_size=(16, 16, 16),
    token_size=(8, 8, 8),
    pyramid=(4, 6, 8, 10),
    initial_masks=True,
    n_auto_stages=1,
    click_sigma=2.0,
)


def targets_of(classes):
    masks = torch.zeros(2, classes, 16, 16, 16, dtype=torch.bool)
    for k in range(classes):
        masks[:, k, 3:9, 2 + 6 * k : 7 + 6 * k, 4:12] = True
    return Targets(masks, None, masks.int())


@pytest.fixture
def network(tiny_sizes):
    torch.manual_seed(0)
    return build(MSAMConfig(1, 2, **tiny_sizes, **CORRECTING)).eval()


def features_of(network):
    with torch.no_grad():
        return network.encode(torch.randn(2, 1, 16, 16, 16))


@pytest.mark.parametrize("classes", [None, torch.tensor([1])])
def test_only_the_network_around_clicks_gets_gradients(network, classes):
    targets = targets_of(2)
    if classes is not None:
        targets = targets._replace(masks=targets.masks[:, classes])
    user = CarefulClicks(targets.masks, reach=network.click_reach)
    rounds = 0
    for loss in practise(network, features_of(network), targets, user, RECIPE, classes):
        loss.backward()
        rounds += 1
    assert rounds == len(user.given) == RECIPE.rounds
    learned = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert learned == {"neighbourhood"}


def test_others_click_the_centre_of_the_error_near_a_voxel_of_it():
    """A bar of twenty voxels in which every voxel may be drawn: what lies within three of it is a bar again."""
    error = torch.zeros(1, 1, 24, 5, 5, dtype=torch.bool)
    error[0, 0, 2:22, 2, 2] = True
    clicked = set()
    for seed in range(60):
        user = CarefulClicks(error, generator=torch.Generator().manual_seed(seed))
        points, labels = practice._elsewhere(error, user)
        z, *beside = points.flatten().tolist()
        assert beside == [2, 2] and labels.item() == 1
        clicked.add(z)
    assert min(clicked) == 3 and max(clicked) == 19 and len(clicked) > 12


def test_a_session_goes_on_with_the_newest_weights(network):
    """A network around clicks that lowers everything: from the second round on the user sees its masks."""
    targets, features = targets_of(2), features_of(network)
    seen = []

    class User(CarefulClicks):
        def error(self, masks):
            seen.append(masks.clone())
            return super().error(masks)

    rounds = practise(network, features, targets, User(targets.masks, reach=network.click_reach), RECIPE)
    next(rounds)
    network.neighbourhood.last.bias.data[0] = 5
    next(rounds)
    next(rounds)
    torch.testing.assert_close(seen[0], features.masks[0])
    assert (seen[2] - seen[1]).abs().max() > 1


class Stub(torch.nn.Module):
    """Looks at one cell of five: the click's, with given logits."""

    voxels_per_length = (1, 1, 1)

    def __init__(self, added):
        super().__init__()
        self.added, self.neighbourhood = added, self

    def look(self, levels, before, followed, rivals, points, labels, widths, heights):
        b, q = labels.shape
        places = points[..., None].float()
        z, y, x = points.unbind(-1)
        at = [m[torch.arange(b)[:, None], torch.arange(q), z, y, x] for m in (followed, rivals)]
        followed, rival = (m.view(b, q, 1, 1, 1) for m in at)
        return Look(torch.full_like(followed, self.added), followed, rival, torch.ones_like(rival), places, [])


def by_hand(margin, truth):
    share = 1 / (1 + math.exp(-margin))
    entropy = -math.log(share if truth else 1 - share)
    return entropy, share


@pytest.mark.parametrize("right", [False, True])
def test_loss_by_hand(right):
    """One click in the middle of a missed object: the rule lifts its logit from -2 to 1, the network adds 0.5. A cell
    that was right before weighs more, in the Dice alone where there is but one."""
    before = torch.full((1, 1, 5, 5, 5), 2.0 if right else -2.0)
    truth = torch.ones(1, 1, 5, 5, 5, dtype=torch.bool)
    clicks = Points(torch.full((1, 1, 1, 3), 2), torch.ones(1, 1, 1, dtype=torch.long))
    features = SimpleNamespace(around=(), rivals=torch.zeros_like(before))
    loss = practice_loss(Stub(0.5), features, before, Targets(truth, None, truth), clicks, SPOILED)
    margin, weight = (2.5, SPOILED) if right else (1.5, 1.0)
    entropy, share = by_hand(margin, True)
    dice = 1 - (2 * weight * share + 1) / (weight * (share + 1) + 1)
    assert loss.item() == pytest.approx(entropy + dice, abs=1e-5)


def test_a_click_counts_by_how_far_it_reaches():
    """In 25 voxels a click without a border near it reaches five, one beside a border two."""
    before = torch.full((2, 1, 25, 25, 25), -2.0)
    before[1] = 2.0
    before[1, 0, 12, 12, 13] = -2.0
    truth = torch.ones(2, 1, 25, 25, 25, dtype=torch.bool)
    clicks = Points(torch.full((2, 1, 1, 3), 12), torch.ones(2, 1, 1, dtype=torch.long))
    features = SimpleNamespace(around=(), rivals=torch.zeros_like(before))
    loss = practice_loss(Stub(0.5), features, before, Targets(truth, None, truth), clicks, SPOILED)
    losses = []
    for margin, weight in ((1.5, 1.0), (2.5, SPOILED)):
        entropy, share = by_hand(margin, True)
        losses.append(entropy + 1 - (2 * weight * share + 1) / (weight * (share + 1) + 1))
    assert loss.item() == pytest.approx((5 * losses[0] + 2 * losses[1]) / 7, abs=1e-5)


def test_the_rival_has_to_be_beaten_and_ignored_cells_do_not_count():
    before = torch.full((1, 1, 5, 5, 5), -2.0)
    truth = torch.ones(1, 1, 5, 5, 5, dtype=torch.bool)
    clicks = Points(torch.full((1, 1, 1, 3), 2), torch.ones(1, 1, 1, dtype=torch.long))
    features = SimpleNamespace(around=(), rivals=torch.full_like(before, 3.0))
    loss = practice_loss(Stub(0.5), features, before, Targets(truth, None, truth), clicks, SPOILED)
    entropy, share = by_hand(1 + 0.5 - 3, True)
    assert loss.item() == pytest.approx(entropy + 1 - (2 * share + 1) / (share + 2), abs=1e-5)
    ignored = Targets(truth, torch.zeros_like(truth), truth)
    assert practice_loss(Stub(0.5), features, before, ignored, clicks, SPOILED).item() == 0


def test_without_an_error_there_is_no_loss():
    before, truth = torch.full((1, 1, 5, 5, 5), -2.0), torch.zeros(1, 1, 5, 5, 5, dtype=torch.bool)
    clicks = Points(torch.zeros(1, 1, 1, 3, dtype=torch.long), torch.full((1, 1, 1), -1))
    features = SimpleNamespace(around=(), rivals=torch.zeros_like(before))
    assert practice_loss(Stub(0.5), features, before, Targets(truth, None, truth), clicks, SPOILED).item() == 0


def test_more_clicks_are_tried_than_made(network, monkeypatch):
    tried = []
    monkeypatch.setattr(
        "msam_nn.trainers.clicks.practice.practice_loss",
        lambda *arguments: tried.append(arguments[4]) or torch.zeros(()),
    )
    targets = targets_of(2)
    list(
        practise(
            network, features_of(network), targets, CarefulClicks(targets.masks, reach=network.click_reach), RECIPE
        )
    )
    assert {clicks.labels.shape for clicks in tried} == {(2, 2 * TRIED, 1)}
    assert isinstance(network.neighbourhood, Neighbourhood) and CELLS % 2 == 1
