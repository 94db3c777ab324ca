"""What a query costs for a target, for matching and as a loss (DETR, arXiv 2005.12872; Mask2Former, 2112.01527)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from msam_nn.networks.masksam import SetPrediction
from msam_nn.preprocessing.masksam.memory import MASK_POINTS
from msam_nn.trainers.masksam.matching import Matches, assign
from msam_nn.trainers.masksam.targets import SetTargets

UNCERTAIN_SHARE, CANDIDATES = 0.75, 2
"""Of the pixels that a loss looks at, so many are the least certain of this many times as many candidates (PointRend,
arXiv 1912.08193, section 3.2)."""

SPECK = 1e-9
"""Least area of a box, as a share of the slice: boxes without one stay comparable."""


@dataclass(frozen=True)
class SetLoss:
    """The weighted sum of MaskSAM's losses, and the same weights for the matching (arXiv 2403.14103).

    Masks are compared on at most :attr:`points` pixels, all of them where a slice has no more. The final and the
    auxiliary output of a query are matched together, so a query answers for the same target with both.

    Arguments:
        volumetric: one assignment a patch instead of one a slice: a query keeps its class across slices.
    """

    volumetric: bool = False
    points: int = MASK_POINTS
    weight_class: float = 0.2
    weight_mask: float = 1.5
    weight_aux_mask: float = 0.5
    weight_box: float = 0.5
    weight_giou: float = 0.2
    no_object: float = 0.1
    """Weight of the class "no object" in the cross-entropy."""

    def __call__(self, prediction: SetPrediction, targets: SetTargets) -> Tensor:
        """The sum, a scalar in float32."""
        prediction = SetPrediction(*(output.float() for output in prediction))
        matches = assign(self.costs(prediction, targets), volumetric=self.volumetric)
        return self.total(self.terms(prediction, targets, matches))

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of what :meth:`terms` returns."""
        return (
            self.weight_class * terms["class"]
            + self.weight_mask * (terms["mask_bce"] + terms["mask_dice"])
            + self.weight_aux_mask * (terms["aux_mask_bce"] + terms["aux_mask_dice"])
            + self.weight_box * terms["box_l1"]
            + self.weight_giou * terms["box_giou"]
        )

    @torch.no_grad()
    def costs(self, prediction: SetPrediction, targets: SetTargets) -> Tensor:
        """``(B, T, N, C)``: what it costs to give query n the target of class c; infinite where a class is absent."""
        true, valid = targets.masks.flatten(3), targets.valid
        pixels = true.shape[-1]
        masks, aux_masks = prediction.mask_logits.flatten(3), prediction.aux_mask_logits.flatten(3)
        weights = None if valid is None else valid.flatten(3)
        if pixels > self.points:
            chosen = torch.randint(pixels, (self.points,), device=true.device)
            true, masks, aux_masks = true[..., chosen], masks[..., chosen], aux_masks[..., chosen]
            weights = None if weights is None else weights[..., chosen]
        true = true.float()
        weights = torch.ones_like(true[:, :, :1]) if weights is None else weights.float()
        probabilities = prediction.class_logits.softmax(-1)[..., : true.shape[2]]
        boxes, true_boxes = prediction.aux_boxes.unsqueeze(3), targets.boxes.unsqueeze(2)
        cost = (
            -self.weight_class * probabilities
            + self.weight_mask * _pairwise_mask_cost(masks, true, weights)
            + self.weight_aux_mask * _pairwise_mask_cost(aux_masks, true, weights)
            + self.weight_box * (boxes - true_boxes).abs().sum(-1)
            - self.weight_giou * generalised_iou(boxes, true_boxes)
        )
        cost = cost.nan_to_num(100.0, posinf=100.0, neginf=100.0)
        return cost.masked_fill(~targets.present.unsqueeze(2), float("inf"))

    def terms(self, prediction: SetPrediction, targets: SetTargets, matches: Matches) -> dict[str, Tensor]:
        """Every loss, unweighted. They hold for any number of matches, none too: every output stays in the graph."""
        slices, queries, classes = matches
        n_targets = _average_over_ranks(len(slices), prediction.class_logits.device)
        masks, aux_masks, boxes = (
            output.flatten(0, 1)[slices, queries]
            for output in (prediction.mask_logits, prediction.aux_mask_logits, prediction.aux_boxes)
        )
        true = targets.masks.flatten(0, 1)[slices, classes]
        valid = None if targets.valid is None else targets.valid.flatten(0, 1)[slices, 0]
        bce, dice = self.mask_losses(masks, true, valid)
        aux_bce, aux_dice = self.mask_losses(aux_masks, true, valid)
        true_boxes = targets.boxes.flatten(0, 1)[slices, classes]
        return {
            "class": self.class_loss(prediction.class_logits, targets.counted, matches),
            "mask_bce": bce.sum() / n_targets,
            "mask_dice": dice.sum() / n_targets,
            "aux_mask_bce": aux_bce.sum() / n_targets,
            "aux_mask_dice": aux_dice.sum() / n_targets,
            "box_l1": (boxes - true_boxes).abs().sum() / n_targets,
            "box_giou": (1 - generalised_iou(boxes, true_boxes)).sum() / n_targets,
        }

    def class_loss(self, logits: Tensor, counted: Tensor, matches: Matches) -> Tensor:
        """Cross-entropy of all queries ``(B, T, N, C + 1)`` of the slices that count ``(B, T)``."""
        logits, counted = logits.flatten(0, 1), counted.flatten()
        nothing = logits.shape[-1] - 1
        true = torch.full(logits.shape[:2], nothing, device=logits.device)
        true[matches.slices, matches.queries] = matches.classes
        weights = torch.where(true == nothing, self.no_object, 1.0) * counted[:, None]
        losses = F.cross_entropy(logits.flatten(0, 1), true.flatten(), reduction="none")
        return (losses * weights.flatten()).sum() / weights.sum().clamp(min=1e-6)

    def mask_losses(self, logits: Tensor, true: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice loss, each ``(K,)``, of matched masks ``(K, H, W)``."""
        logits, true = logits.flatten(1), true.flatten(1)
        valid = None if valid is None else valid.flatten(1)
        if logits.shape[1] > self.points:
            chosen = uncertain_pixels(logits.detach(), self.points)
            logits, true = logits.gather(1, chosen), true.gather(1, chosen)
            valid = None if valid is None else valid.gather(1, chosen)
        true = true.float()
        weights = torch.ones_like(true) if valid is None else valid.float()
        bce = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
        bce = (bce * weights).sum(1) / weights.sum(1).clamp(min=1)
        found, true = logits.sigmoid() * weights, true * weights
        dice = 1 - (2 * (found * true).sum(1) + 1) / (found.sum(1) + true.sum(1) + 1)
        return bce, dice


def uncertain_pixels(logits: Tensor, count: int) -> Tensor:
    """Indices ``(K, count)`` of pixels of masks ``(K, L)``: :data:`UNCERTAIN_SHARE` of them where the logit is nearest
    to 0, the rest anywhere."""
    n_uncertain = int(UNCERTAIN_SHARE * count)
    candidates = torch.randint(logits.shape[1], (len(logits), CANDIDATES * count), device=logits.device)
    least = logits.gather(1, candidates).abs().topk(n_uncertain, dim=1, largest=False).indices
    anywhere = torch.randint(logits.shape[1], (len(logits), count - n_uncertain), device=logits.device)
    return torch.cat([candidates.gather(1, least), anywhere], dim=1)


def _pairwise_mask_cost(logits: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss ``(B, T, N, C)`` of every mask ``(B, T, N, P)`` with every target ``(B, T, C, P)``,
    over pixels of weight ``(B, T, 1, P)``."""
    true = (true * weights).transpose(-1, -2)
    found = logits.sigmoid() * weights
    n_pixels = weights.sum(-1, keepdim=True).clamp(min=1)
    # softplus(x) is the cost of an empty target, and x what it falls by where the target is.
    bce = ((F.softplus(logits) * weights).sum(-1, keepdim=True) - logits @ true) / n_pixels
    dice = 1 - (2 * found @ true + 1) / (found.sum(-1, keepdim=True) + true.sum(-2, keepdim=True) + 1)
    return bce + dice


def generalised_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU (arXiv 1902.09630) of boxes ``x1, y1, x2, y2`` in the last axis; other axes broadcast. Boxes may
    have no area."""
    low = torch.maximum(boxes[..., :2], others[..., :2])
    high = torch.minimum(boxes[..., 2:], others[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    union = (_area(boxes) + _area(others) - common).clamp(min=SPECK)
    hull_low = torch.minimum(boxes[..., :2], others[..., :2])
    hull_high = torch.maximum(boxes[..., 2:], others[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1).clamp(min=SPECK)
    return common / union - (hull - union) / hull


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _average_over_ranks(count: int, device: torch.device) -> Tensor | int:
    """The mean of a number over the processes of a DDP training, at least 1."""
    if not (dist.is_available() and dist.is_initialized()):
        return max(count, 1)
    total = torch.tensor(float(count), device=device)
    dist.all_reduce(total)
    return (total / dist.get_world_size()).clamp(min=1)
