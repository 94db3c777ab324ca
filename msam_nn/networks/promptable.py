"""What every promptable network is: a loop of refinement stages over features that are computed once an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msam_nn.networks.layers.basic import Triple

POSITIVE, NEGATIVE, PADDING = 1, 0, -1
"""Labels of a point: inside the object, outside of it, and no point at all."""


class Points(NamedTuple):
    """Point prompts of one stage.

    points: ``(B, K, P, 3)`` voxel indices of the patch in array order ``(z, y, x)``.
    labels: ``(B, K, P)``: 1 inside, 0 outside, -1 no point.
    """

    points: Tensor
    labels: Tensor


PromptSource = Callable[[int, Tensor | None], Points | None]
"""Called before each stage with its index and the full-resolution mask logits ``(B, K, D, H, W)`` of the stage before
(None at stage 0); returns the stage's new points, or None for none."""


class PromptableNetwork(nn.Module, ABC):
    """Promptable segmentation of one patch; training, inference and evaluation know networks by this class only.

    ``network(image)`` predicts without prompts; ``network(image, prompt_source, n_stages)`` is the refinement loop.
    What ``encode`` returns (tensors, or tuples of tensors and None) and what a state holds is the network's business.

    Attributes:
        patch_size: network input in voxels, array order.
        num_classes: masks ``K``: foreground classes, or regions.
        background: prepend a background logit of 0 to the output (softmax data sets); False for regions.
        n_auto_stages: refinement stages of a prediction without prompts.
        has_initial_masks: the automatic stage only hands on masks that the features hold; a training then learns them
            beside the stages, not as one of them.
        reads_features: a stage that goes on from masks needs the image's features; False spares them.
        voxels_per_length: voxels that count as equally far, per axis.
        click_reach: standard deviation in voxels, per axis, of the Gaussian by which prediction corrects a click that
            the network overlooked.
        class_chunk: classes decoded at once when predicting; bounds memory with many classes.
    """

    patch_size: Triple
    num_classes: int
    background: bool
    n_auto_stages: int
    has_initial_masks: bool = False
    reads_features: bool = True
    voxels_per_length: tuple[float, float, float] = (1.0, 1.0, 1.0)
    click_reach: tuple[float, float, float]
    class_chunk: int = 8

    @abstractmethod
    def encode(self, image: Tensor) -> Any:
        """Features of ``(B, C, D, H, W)``; costs as much as several stages, so keep them.

        Raises:
            ValueError: if the image is not of the patch size.
        """

    @abstractmethod
    def refine(self, features: Any, prompts: Points | None, state: Any | None, classes: Tensor | None = None) -> Any:
        """One stage: the state after the newest points, given the state of the stage before (None at the first).

        Arguments:
            classes: indices ``(k,)`` of the classes refined, whose state and prompts these are; None for all in order.
        """

    @abstractmethod
    def masks(self, state: Any) -> Tensor:
        """Mask logits ``(B, k, D, H, W)`` of a state, at the resolution of the image."""

    @abstractmethod
    def resume(self, masks: Tensor, clicks: Points | None = None) -> Any:
        """The state to continue from given mask logits ``(B, k, D, H, W)`` and all clicks ``(B, k, P, ...)`` so far."""

    @torch.compiler.disable(recursive=False)
    def forward(
        self,
        image: Tensor,
        prompt_source: PromptSource | None = None,
        n_stages: int | None = None,
        classes: Tensor | None = None,
        silent: Container[int] = (),
    ) -> Tensor | list[Tensor]:
        """Predict, or refine with prompts.

        The loop itself is plain Python around the compiled encoder and stages.

        Arguments:
            image: ``(B, C, D, H, W)``.
            prompt_source: None predicts without prompts.
            n_stages: refinement stages; ``n_auto_stages`` by default.
            classes: indices of the classes to refine; only with a prompt source.
            silent: stages that run without gradient and are left out of the result: a training reaches the late clicks
                of a session at a third of their price.

        Returns:
            nnU-Net's logits ``(B, num_outputs, D, H, W)``; with a prompt source a list of them, one per stage.
        """
        features = self.encode(image)
        n_stages = n_stages or self.n_auto_stages
        if prompt_source is None:
            return self.add_background(self.predict_masks(features, n_stages))
        return self.run_stages(features, prompt_source, n_stages, classes, silent)

    @torch.compiler.disable(recursive=False)
    def run_stages(
        self,
        features: Any,
        prompt_source: PromptSource,
        n_stages: int,
        classes: Tensor | None = None,
        silent: Container[int] = (),
    ) -> list[Tensor]:
        """The loop of :meth:`forward`, on the features of an image."""
        stages, state, masks = [], None, None
        for stage in range(n_stages):
            prompts = _ask(prompt_source, stage, None if masks is None else masks.detach())
            with torch.set_grad_enabled(torch.is_grad_enabled() and stage not in silent):
                state = self.refine(features, prompts, state, classes)
                masks = self.masks(state)
            if stage not in silent:
                stages.append(self.add_background(masks))
        return stages

    def predict_masks(self, features: Any, n_stages: int) -> Tensor:
        """Mask logits ``(B, K, D, H, W)`` after ``n_stages`` without prompts, a chunk of classes at a time."""
        chunks = torch.arange(self.num_classes, device=next(self.parameters()).device)
        masks = []
        for classes in chunks.split(self.class_chunk):
            state = None
            for _ in range(n_stages):
                state = self.refine(features, None, state, classes)
            masks.append(self.masks(state))
        return torch.cat(masks, dim=1)

    def add_background(self, masks: Tensor) -> Tensor:
        """Mask logits ``(B, K, ...)`` in nnU-Net's convention: a background logit of 0 first, unless regions."""
        if not self.background:
            return masks
        return torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)

    def relative_masks(self, logits: Tensor) -> Tensor:
        """nnU-Net's logits ``(B, num_outputs, ...)`` as mask logits ``(B, K, ...)``: relative to the background's."""
        return logits[:, 1:] - logits[:, :1] if self.background else logits

    def insist_on_patch(self, image: Tensor) -> None:
        """Raises ValueError for images ``(B, C, ...)`` of another size than :attr:`patch_size`."""
        if tuple(image.shape[2:]) != self.patch_size:
            raise ValueError(f"This network takes images of {self.patch_size} voxels, got {tuple(image.shape[2:])}.")

    def parameter_counts(self) -> tuple[int, int]:
        """Trained and all parameters."""
        counts = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return sum(n for n, trained in counts if trained), sum(n for n, _ in counts)


@torch.compiler.disable
def _ask(source: PromptSource, stage: int, masks: Tensor | None) -> Points | None:
    """Users are never compiled: what they do depends on the stage and on what was clicked before."""
    return source(stage, masks)
