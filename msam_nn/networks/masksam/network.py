"""MaskSAM: SAM's 2D network on volumes, prompted by itself (arXiv 2403.14103)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.masksam.config import MaskSAMConfig
from msam_nn.networks.masksam.semantics import region_logits, softmax_logits


class SetPrediction(NamedTuple):
    """``N`` queries of every slice.

    class_logits: ``(B, T, N, C + 1)``, the last class is "no object".
    mask_logits: ``(B, T, N, H, W)``.
    aux_mask_logits: ``(B, T, N, H, W)``, the prompt generator's own masks.
    aux_boxes: ``(B, T, N, 4)``, its boxes: ``(x1, y1, x2, y2)`` in units of the slice, 0 to 1.
    """

    class_logits: Tensor
    mask_logits: Tensor
    aux_mask_logits: Tensor
    aux_boxes: Tensor


class MaskSAM(nn.Module):
    """Semantic segmentation of one patch as a set of masks with a class each: ``config`` decides everything about it.

    ``network(image)`` returns a :class:`SetPrediction` in training mode and nnU-Net's logits in evaluation mode.
    """

    def __init__(self, config: MaskSAMConfig) -> None:
        super().__init__()
        self.config = config
        self.stub = nn.Conv3d(config.in_channels, config.n_queries, 3, padding=1)

    def forward(self, image: Tensor) -> SetPrediction | Tensor:
        """
        Arguments:
            image: ``(B, C_in, T, H, W)``, or ``(B, C_in, H, W)`` where patches have one slice.

        Returns:
            A :class:`SetPrediction` in training mode, otherwise nnU-Net's logits, ``(B, C, T, H, W)`` or
            ``(B, C, H, W)``.

        Raises:
            ValueError: if the image is not of the patch size.
        """
        if self.training:
            return self.predict_set(image)
        return self.predict(image)[1]

    def predict(self, image: Tensor) -> tuple[SetPrediction, Tensor]:
        """Both of what :meth:`forward` returns, in any mode: for validation, which needs the loss and the scores."""
        prediction = self.predict_set(image)
        logits = self.semantic_logits(prediction)
        return prediction, logits[:, :, 0] if image.ndim == 4 else logits

    def predict_set(self, image: Tensor) -> SetPrediction:
        if image.ndim == 4:
            image = image[:, :, None]
        masks = self.stub(image).transpose(1, 2)
        pooled = F.adaptive_avg_pool2d(masks.flatten(0, 1), (2, 2)).unflatten(0, masks.shape[:2]).flatten(-2)
        x1y1, extent = pooled.sigmoid().chunk(2, -1)
        boxes = torch.cat([x1y1, x1y1 + (1 - x1y1) * extent], -1)
        classes = pooled.mean(-1, keepdim=True).expand(*pooled.shape[:-1], self.config.num_classes + 1)
        return SetPrediction(classes, masks, masks, boxes)

    def semantic_logits(self, prediction: SetPrediction) -> Tensor:
        """nnU-Net's logits ``(B, C, T, H, W)``, float32: see :mod:`msam_nn.networks.masksam.semantics`."""
        assemble = softmax_logits if self.config.background else region_logits
        return assemble(prediction.class_logits, prediction.mask_logits).transpose(1, 2)


def build_from_plans(
    input_channels: int, num_classes: int, deep_supervision: bool = False, **arch_kwargs: Any
) -> MaskSAM:
    """What the plans' ``network_class_name`` names: nnU-Net's ``get_network_from_plans`` calls it.

    ``num_classes`` is nnU-Net's number of segmentation heads. ``deep_supervision`` is accepted because nnU-Net passes
    it, and has no effect: MaskSAM is supervised by its auxiliary masks and boxes instead.
    """
    return MaskSAM(MaskSAMConfig.from_arch_kwargs(input_channels, num_classes, arch_kwargs))


BUILDER = "msam_nn.networks.masksam.build_from_plans"
"""``network_class_name`` of a MaskSAM architecture in nnU-Net's plans."""
