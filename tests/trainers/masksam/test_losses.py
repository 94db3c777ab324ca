import pytest
import torch

from msam_nn.networks.masksam import SetPrediction
from msam_nn.trainers.masksam.losses import SetLoss, generalised_iou, uncertain_pixels
from msam_nn.trainers.masksam.matching import Matches, assign
from msam_nn.trainers.masksam.targets import set_targets

SURE = 40.0


def labels_of(seed=0, depth=3, edge=16, classes=4):
    """A label map ``(2, 1, T, H, W)`` of blocks, with background, single pixels and a slice of background alone."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(2, 1, depth, edge, edge, dtype=torch.int16)
    for b in range(2):
        for t in range(1, depth):
            for label in range(1, classes):
                y, x = torch.randint(0, edge - 4, (2,), generator=generator).tolist()
                labels[b, 0, t, y : y + 4, x : x + 4] = label
    labels[0, 0, 1, 0, 0] = classes - 1
    return labels


def perfect(targets, n_queries):
    """The prediction in which query ``n_queries - 1 - c`` says exactly what is true of class c, auxiliary too."""
    batch, depth, n_classes = targets.present.shape
    shape = (batch, depth, n_queries)
    class_logits = torch.full((*shape, n_classes + 1), -SURE)
    masks = torch.full((*shape, *targets.masks.shape[-2:]), -SURE)
    boxes = torch.rand(*shape, 4)
    class_logits[..., n_classes] = SURE
    for c in range(n_classes):
        query = n_queries - 1 - c
        here = targets.present[:, :, c]
        class_logits[:, :, query, n_classes] = torch.where(here, -SURE, SURE)
        class_logits[:, :, query, c] = torch.where(here, SURE, -SURE)
        masks[:, :, query] = torch.where(targets.masks[:, :, c], SURE, -SURE)
        boxes[:, :, query] = targets.boxes[:, :, c]
    return SetPrediction(class_logits, masks, masks.clone(), boxes)


def random_prediction(n_queries=6, n_classes=4, depth=3, edge=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, depth, n_queries, 2, 2, generator=generator).sort(-2).values
    return SetPrediction(
        torch.randn(2, depth, n_queries, n_classes + 1, generator=generator).requires_grad_(),
        torch.randn(2, depth, n_queries, edge, edge, generator=generator).requires_grad_(),
        torch.randn(2, depth, n_queries, edge, edge, generator=generator).requires_grad_(),
        corners.flatten(-2).requires_grad_(),
    )


def split(labels, **options):
    return set_targets(labels, **{"num_outputs": 4, "has_regions": False, "ignore_label": None, **options})


@pytest.mark.parametrize("volumetric", [False, True])
@pytest.mark.parametrize("points", [32_768, 60])
def test_a_perfect_prediction_costs_nothing_in_any_term(volumetric, points):
    targets = split(labels_of())
    prediction = perfect(targets, n_queries=6)
    loss = SetLoss(volumetric=volumetric, points=points)
    terms = loss.terms(prediction, targets, assign(loss.costs(prediction, targets), volumetric=volumetric))
    assert set(terms) == {"class", "mask_bce", "mask_dice", "aux_mask_bce", "aux_mask_dice", "box_l1", "box_giou"}
    for name, value in terms.items():
        assert abs(float(value)) < 1e-3, name


def test_a_perfect_prediction_of_overlapping_regions_costs_nothing():
    labels = labels_of()
    regions = torch.cat([labels > 0, labels > 1, labels == 3], dim=1).short()
    targets = split(regions, num_outputs=3, has_regions=True)
    assert not targets.present[:, 0].any()
    assert abs(float(SetLoss()(perfect(targets, 8), targets))) < 1e-3


def test_matching_finds_the_perfect_queries():
    targets = split(labels_of())
    matches = assign(SetLoss().costs(perfect(targets, 6), targets))
    assert torch.equal(matches.queries, 5 - matches.classes)


def test_pairwise_costs_equal_the_losses_of_the_pairs():
    targets, prediction, loss = split(labels_of()), random_prediction(), SetLoss()
    costs = loss.costs(prediction, targets)
    slices, queries, classes = matches = assign(costs)
    terms = loss.terms(prediction, targets, matches)
    probability = prediction.class_logits.softmax(-1).flatten(0, 1)[slices, queries, classes]
    # The cost has -p and -GIoU where the loss has cross-entropy and 1 - GIoU.
    expected = loss.total({**terms, "class": -probability.mean(), "box_giou": terms["box_giou"] - 1})
    torch.testing.assert_close(costs.flatten(0, 1)[slices, queries, classes].mean(), expected)


def test_class_loss_by_hand():
    """Two queries, one matched: the weights are 1 and 0.1, the loss their mean of the two entropies."""
    logits = torch.zeros(1, 1, 2, 3)
    logits[0, 0, 1, 2] = 1.0
    matches = Matches(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    loss = SetLoss().class_loss(logits, torch.ones(1, 1, dtype=torch.bool), matches)
    log3, other = torch.log(torch.tensor(3.0)), torch.log(2 + torch.e * torch.ones(())) - 1
    torch.testing.assert_close(loss, (log3 + 0.1 * other) / 1.1)


def test_mask_losses_by_hand():
    bce, dice = SetLoss().mask_losses(torch.zeros(1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]), None)
    assert float(bce) == pytest.approx(0.6931, abs=1e-4)
    assert float(dice) == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))


def test_generalised_iou_by_hand():
    boxes = torch.tensor([[0, 0, 0.5, 1.0], [0, 0, 0.25, 1], [0, 0, 0, 0]])
    other = torch.tensor([0, 0, 0.5, 1.0])
    torch.testing.assert_close(generalised_iou(boxes, other), torch.tensor([1.0, 0.5, 0.0]))
    apart = generalised_iou(torch.tensor([0, 0, 0.25, 1.0]), torch.tensor([0.75, 0, 1, 1.0]))
    assert float(apart) == pytest.approx(-0.5)
    assert float(generalised_iou(torch.zeros(4), torch.zeros(4))) == pytest.approx(0)


def test_ignored_pixels_change_nothing():
    labels = labels_of(classes=4)
    labels[:, :, :, 8:] = 4
    targets = split(labels, ignore_label=4)
    prediction = random_prediction()
    other = SetPrediction(*(output.detach().clone() for output in prediction))
    other.mask_logits[..., 8:, :] = 7.0
    other.aux_mask_logits[..., 8:, :] = -7.0
    torch.testing.assert_close(SetLoss()(prediction, targets), SetLoss()(other, targets))


def test_slices_that_are_ignored_altogether_have_no_loss_at_all():
    labels = labels_of()
    labels[:, :, 1:] = 4
    prediction = random_prediction()
    SetLoss()(prediction, split(labels, ignore_label=4)).backward()
    for output in prediction:
        assert not output.grad[:, 1:].any() and output.grad[:, 0].any()


@pytest.mark.parametrize("value", [0, 4])
def test_a_batch_without_targets_keeps_every_output_in_the_graph(value):
    """Otherwise a process of a DDP training would wait for gradients that another never makes."""
    regions = torch.full((2, 4, 3, 16, 16), bool(value)).short()
    targets = split(regions, num_outputs=3, has_regions=True, ignore_label=4)
    prediction = random_prediction(n_classes=3)
    loss = SetLoss()(prediction, targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(output.grad is not None and torch.isfinite(output.grad).all() for output in prediction)


def test_half_precision_and_nan_costs_are_survived():
    targets, prediction = split(labels_of()), random_prediction()
    half = SetPrediction(*(output.detach().half() for output in prediction))
    assert SetLoss()(half, targets).dtype == torch.float32
    broken = SetPrediction(*(output.detach().clone() for output in prediction))
    broken.mask_logits[0, 0, 0] = float("nan")
    assert len(assign(SetLoss().costs(broken, targets)).slices) == int(targets.present.sum())


def test_uncertain_pixels_are_preferred():
    torch.manual_seed(0)
    logits = torch.full((1, 1000), 9.0)
    logits[0, :200] = 0.0
    chosen = uncertain_pixels(logits, 100)
    assert chosen.shape == (1, 100)
    assert int((chosen < 200).sum()) > 40  # of 200 candidates about 40 are uncertain; without preference 20 of 100
