"""M-SAM that corrects masks: a U-Net over the image gives them before any prompt, and each stage adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from msam_nn.networks.decoding.corrections import HELD, Following, equal_lengths, follow_points
from msam_nn.networks.decoding.initial_decoder import InitialDecoder
from msam_nn.networks.decoding.neighbourhood import LEVELS, Neighbourhood, best_other
from msam_nn.networks.decoding.pyramid_decoder import squash
from msam_nn.networks.layers.basic import upsample
from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.msam.network import MSAM, ImageFeatures
from msam_nn.networks.promptable import PADDING, Points


class CorrectableFeatures(NamedTuple):
    """What one image gives to all classes and stages.

    image: what the stages take from the image.
    around: the finest levels, for the neighbourhoods of clicks. rivals: of each class's mask the best other one's.
    masks: logits ``(B, K, ...)`` before any prompt, finest first; only the finest without deep supervision.
    """

    image: ImageFeatures
    around: tuple[Tensor, ...]
    rivals: Tensor
    masks: list[Tensor]


class CorrectionState(NamedTuple):
    """What one stage hands to the next: mask logits ``(B, k, D, H, W)``, and all clicks written on the mask grid
    ``(B, k, 4d, 4h, 4w)``, None for no click yet."""

    logits: Tensor
    clicks: Tensor | None


class CorrectingMSAM(MSAM):
    """:class:`MSAM` of a configuration with ``initial_masks``.

    The pyramid and the transformer on its deepest level are the encoder of a U-Net whose decoder predicts all classes
    at once: that is the automatic prediction. In a stage the last mask first follows the newest clicks by a rule
    (:func:`~msam_nn.networks.decoding.corrections.follow_points`); M-SAM's adapter, two-way transformer and mask
    decoder see what came of it, and what they give is *added* where the clicks act; a small network around each click,
    its :class:`~msam_nn.networks.decoding.neighbourhood.Neighbourhood`, has the last word; both start at zero. Once
    that one has practised, the decoder is left the clicks that tell no size, as on no mask at all. Classes without a
    new click stay as they are. A first click on no mask at all starts from logits of 0.

    Arguments:
        deep_supervision: ``network(image)``, and a training's ``network(image, prompt_source)`` beside the stages,
            give logits of every level.
        spacing: of the voxels, per axis: how far a click reaches.
    """

    has_initial_masks = True

    def __init__(
        self, config: MSAMConfig, deep_supervision: bool = False, spacing: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> None:
        super().__init__(config)
        self.deep_supervision = deep_supervision
        self.initial_decoder = InitialDecoder(
            dim=config.decoder_dim,
            widths=self.pyramid.widths,
            strides=self.pyramid.strides,
            num_classes=config.num_classes,
            mask_prior=config.mask_prior,
        )
        self.neighbourhood = Neighbourhood(self.pyramid.widths[:LEVELS])
        self.voxels_per_length = equal_lengths(spacing)
        self.click_reach = HELD

    def encode(self, image: Tensor) -> CorrectableFeatures:
        embedding, levels = self.embed(image)
        features, masks = self.initial_decoder(embedding, levels, self.deep_supervision)
        rivals = best_other(masks[0].detach(), exclusive=self.background)
        return CorrectableFeatures(self.image_features(embedding, features), tuple(features[:LEVELS]), rivals, masks)

    def refine(
        self,
        features: CorrectableFeatures,
        prompts: Points | None,
        state: CorrectionState | None,
        classes: Tensor | None = None,
    ) -> CorrectionState:
        """One stage; without prompts at the first it is the initial mask."""
        initial = features.masks[0] if classes is None else features.masks[0][:, classes]
        if prompts is None:
            return CorrectionState(initial, None) if state is None else state
        due = (prompts.labels != PADDING).any(2)[:, :, None, None, None]
        if state is None:
            state = CorrectionState(torch.where(due, 0, initial), None)
        before, clicks = state.logits.detach(), state.clicks
        written = self._written(prompts, before.dtype)
        if written is not None:
            clicks = written if clicks is None else clicks + written
        following = follow_points(before, prompts, unit=self.voxels_per_length)
        share = self.neighbourhood.left_to_decoder(following)
        added = self._stage(self.learned, features, prompts, before, following, share, clicks, classes=classes)
        return CorrectionState(torch.where(due, following.masks + added, before), clicks)

    def learned(
        self,
        features: CorrectableFeatures,
        prompts: Points,
        before: Tensor,
        following: Following,
        share: Tensor | None,
        clicks: Tensor | None,
        *,
        classes: Tensor | None,
    ) -> Tensor:
        """What a stage adds to the masks that follow its clicks, ``(B, K, D, H, W)``: the mask decoder's correction
        as far as it is wanted, and their neighbourhoods'."""
        decoded = 0
        if share is not None:
            decoded = share * self.correction(features.image, *prompts, following.masks, clicks, classes=classes)
        rivals = features.rivals if classes is None else features.rivals[:, classes]
        followed = (following.masks + decoded).detach()
        return decoded + self.neighbourhood(features.around, before, followed, rivals, prompts, following)

    def correction(
        self,
        image: ImageFeatures,
        points: Tensor,
        labels: Tensor,
        before: Tensor,
        clicks: Tensor | None,
        *,
        classes: Tensor | None,
    ) -> Tensor:
        """What the mask decoder would add to the mask logits ``before``, ``(B, K, D, H, W)``; the other arguments are
        :meth:`MSAM.decode`'s, ``clicks`` those written so far."""
        coarse = upsample(before, self.config.mask_size)
        clicks = torch.zeros_like(coarse) if clicks is None else clicks
        fused, sparse, class_embedding = self._fuse(image, points, labels, coarse + clicks, classes)
        given = clicks / self.config.click_logit
        fine = upsample(given, self.patch_size)
        prompts = [squash(*(x.flatten(0, 1)[:, None] for x in pair)) for pair in ((coarse, given), (before, fine))]
        added, detail = self.mask_decoder.refine(
            fused, image.position, sparse, class_embedding, image.details, *prompts
        )
        added = upsample(added.view_as(coarse), self.patch_size)
        return added if detail is None else added + detail.view_as(added)

    def masks(self, state: CorrectionState) -> Tensor:
        return state.logits

    def resume(self, masks: Tensor, clicks: Points | None = None) -> CorrectionState:
        return CorrectionState(masks, None if clicks is None else self._written(clicks, masks.dtype))

    @torch.compiler.disable(recursive=False)
    def forward(self, image: Tensor, prompt_source=None, n_stages=None, classes=None, silent=range(0)) -> Any:
        """The automatic prediction; with a prompt source the stages' logits, in training with deep supervision as
        ``(outputs, stages)``, where ``outputs`` are those of every level before any prompt."""
        if prompt_source is None:
            embedding, levels = self.embed(image)
            return self._outputs(self.initial_decoder(embedding, levels, self.deep_supervision)[1])
        features = self.encode(image)
        stages = self.run_stages(features, prompt_source, n_stages or self.n_auto_stages, classes, silent)
        return (self._outputs(features.masks), stages) if self.training and self.deep_supervision else stages

    def _outputs(self, masks: list[Tensor]) -> Tensor | list[Tensor]:
        outputs = [self.add_background(m) for m in masks]
        return outputs if self.deep_supervision else outputs[0]
