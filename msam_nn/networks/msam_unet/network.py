"""nnU-Net's own U-Net, promptable: it runs once an image, and each stage adds to its logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msam_nn.networks.decoding.corrections import HELD, equal_lengths, follow_points
from msam_nn.networks.decoding.neighbourhood import LEVELS, Neighbourhood, best_other
from msam_nn.networks.layers.basic import MASK_PRIOR, Triple, gaussian_factors
from msam_nn.networks.msam_unet.prompt_path import PromptPath
from msam_nn.networks.promptable import NEGATIVE, PADDING, POSITIVE, Points, PromptableNetwork

CLICK_SIGMA = 5.0
"""Standard deviation in voxels of a click's Gaussian."""

HEADS, RENAMED = ".seg_layers.", ".heads."
"""nnU-Net leaves segmentation heads out when it loads pretrained weights, by this part of their names. Ours belong to
the frozen U-Net, so they go by another name in state dictionaries."""


class UNetFeatures(NamedTuple):
    """What one image gives to all classes and stages.

    masks: the U-Net's mask logits ``(B, K, D, H, W)``, relative to the background's.
    image: what the prompt path takes from its features.
    around: the finest levels, for the neighbourhoods of clicks. rivals: of each class's mask the best other one's.
    """

    masks: Tensor
    image: tuple[Tensor, ...]
    around: tuple[Tensor, ...]
    rivals: Tensor


class UNetState(NamedTuple):
    """What one stage hands to the next: mask logits ``(B, k, D, H, W)`` and all clicks, inside and outside, as maps
    ``(B, k, 2, D, H, W)``; None for no click yet."""

    logits: Tensor
    clicks: Tensor | None


class MSAMUNet(PromptableNetwork):
    """A U-Net of ``dynamic_network_architectures`` with M-SAM's loop on it.

    ``network(image)`` is the U-Net's own answer, with deep supervision where it is switched on. In a stage the logits
    follow the newest clicks by a rule (:func:`~msam_nn.networks.decoding.corrections.follow_points`), and the prompt
    path and then the clicks' neighbourhoods add to what came of it where they act; classes without a click stay as they
    are. Once the neighbourhoods have practised, the prompt path is left the clicks that tell no size.

    Arguments:
        unet: plain or residual, with ``encoder`` and ``decoder``.
        num_outputs: the U-Net's logits: classes and background, or regions.
        spacing: of the voxels, per axis: how far a click reaches.
    """

    n_auto_stages = 1
    has_initial_masks = True

    def __init__(
        self, unet: nn.Module, *, patch_size: Triple, num_outputs: int, background: bool, spacing: Sequence[float]
    ) -> None:
        super().__init__()
        self.patch_size, self.background = tuple(patch_size), background
        self.num_classes = num_outputs - int(background)
        self.voxels_per_length = equal_lengths(spacing)
        self.click_reach = HELD
        self.unet = unet
        _expect_background(unet.decoder.seg_layers, background)
        self.prompt_path = PromptPath(
            patch_size=self.patch_size,
            strides=[tuple(s) if not isinstance(s, int) else (s,) * 3 for s in unet.encoder.strides],
            channels=list(unet.encoder.output_channels),
            num_classes=self.num_classes,
        )
        self.neighbourhood = Neighbourhood(unet.encoder.output_channels[:LEVELS])
        self.register_buffer("unet_is_given", torch.zeros((), dtype=torch.bool))
        self.register_state_dict_post_hook(_rename_heads)
        self.register_load_state_dict_pre_hook(_restore_heads)

    def freeze_unet(self) -> None:
        """From now on only what clicks need trains: the prompt path and the neighbourhoods."""
        self.unet_is_given.fill_(True)
        self.unet.requires_grad_(False)
        self.unet.eval()

    @property
    def is_frozen(self) -> bool:
        return not next(self.unet.parameters()).requires_grad

    def train(self, mode: bool = True) -> MSAMUNet:
        super().train(mode)
        if self.is_frozen:
            self.unet.eval()
        return self

    def run_unet(self, image: Tensor) -> tuple[Tensor | list[Tensor], list[Tensor]]:
        """The U-Net's outputs (a list with deep supervision, finest first), and its features, finest first: those of
        the decoder's stages and the encoder's last."""
        self.insist_on_patch(image)
        decoder, features, outputs = self.unet.decoder, [], []
        *skips, below = self.unet.encoder(image)
        features.append(below)
        for stage, up, head, skip in zip(
            decoder.stages, decoder.transpconvs, decoder.seg_layers, reversed(skips), strict=True
        ):
            below = stage(torch.cat([up(below), skip], dim=1))
            features.append(below)
            if decoder.deep_supervision or stage is decoder.stages[-1]:
                outputs.append(head(below))
        return (outputs[::-1] if decoder.deep_supervision else outputs[-1]), features[::-1]

    def encode(self, image: Tensor) -> UNetFeatures:
        return self._features(*self.run_unet(image))

    def _features(self, outputs: Tensor | list[Tensor], features: list[Tensor]) -> UNetFeatures:
        finest = outputs[0] if isinstance(outputs, list) else outputs
        masks = self.relative_masks(finest)
        rivals = best_other(masks.detach(), exclusive=self.background)
        return UNetFeatures(masks, self.prompt_path.image_half(features), tuple(features[:LEVELS]), rivals)

    def refine(
        self, features: UNetFeatures, prompts: Points | None, state: UNetState | None, classes: Tensor | None = None
    ) -> UNetState:
        """One stage; the first without prompts is the U-Net's own answer, and a class clicked in it starts from logits
        of 0."""
        if classes is None:
            classes = torch.arange(self.num_classes, device=features.masks.device)
        initial = features.masks[:, classes]
        if prompts is None:
            return UNetState(initial, None) if state is None else state
        b, k = prompts.labels.shape[:2]
        due = (prompts.labels != PADDING).any(2)[:, :, None, None, None]
        if state is None:
            state = UNetState(torch.where(due, 0, initial), None)
        written = self.write(prompts).to(features.masks.dtype)
        clicks = written if state.clicks is None else torch.maximum(state.clicks, written)
        before = state.logits.detach()
        following = follow_points(before, prompts, unit=self.voxels_per_length)
        share, masks = self.neighbourhood.left_to_decoder(following), following.masks
        if share is not None:
            added = self.prompt_path(
                features.image,
                prompts.points.flatten(0, 1),
                prompts.labels.flatten(0, 1),
                following.masks.flatten(0, 1)[:, None],
                clicks.flatten(0, 1),
                classes.repeat(b),
            )
            masks = masks + share * added.view_as(before)
        around = features.around, before, masks.detach(), features.rivals[:, classes]
        masks = masks + self.neighbourhood(*around, prompts, following)
        return UNetState(torch.where(due, masks, before), clicks)

    def masks(self, state: UNetState) -> Tensor:
        return state.logits

    def resume(self, masks: Tensor, clicks: Points | None = None) -> UNetState:
        return UNetState(masks, None if clicks is None else self.write(clicks).to(masks.dtype))

    def write(self, clicks: Points) -> Tensor:
        """Clicks as Gaussians of height 1, ``(B, K, 2, D, H, W)``: inside, outside."""
        bumps = gaussian_factors(clicks.points, (CLICK_SIGMA,) * 3, self.patch_size)
        kinds = torch.stack([clicks.labels == kind for kind in (POSITIVE, NEGATIVE)], dim=2).to(bumps[0].dtype)
        maps = torch.zeros(1, device=clicks.points.device)
        for chosen, *bump in zip(kinds.unbind(3), *(axis.unbind(2) for axis in bumps), strict=True):
            maps = torch.maximum(maps, torch.einsum("bks,bkd,bkh,bkw->bksdhw", chosen, *bump))
        return maps

    @torch.compiler.disable(recursive=False)
    def forward(self, image: Tensor, prompt_source=None, n_stages=None, classes=None, silent=range(0)) -> Any:
        """The U-Net's answer, or with a prompt source the stages' logits; while the U-Net trains, its outputs come
        first: ``(outputs, stages)``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            outputs, unet_features = self.run_unet(image)
        if prompt_source is None:
            return outputs
        features = self._features(outputs, unet_features)
        stages = self.run_stages(features, prompt_source, n_stages or self.n_auto_stages, classes, silent)
        return stages if self.is_frozen or not self.training else (outputs, stages)


def _expect_background(heads: nn.ModuleList, background: bool) -> None:
    """Let the heads' masks begin at :data:`MASK_PRIOR`."""
    for head in heads:
        nn.init.constant_(head.bias, 0.0 if background else MASK_PRIOR)
        if background:
            nn.init.constant_(head.bias[:1], -MASK_PRIOR)


def _rename_heads(module: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    for key in [key for key in state if key.startswith(prefix) and HEADS in key]:
        state[key.replace(HEADS, RENAMED)] = state.pop(key)


def _restore_heads(module: nn.Module, state: dict, prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix) and RENAMED in key]:
        state[key.replace(RENAMED, HEADS)] = state.pop(key)
