"""Any network that segments patches, promptable without training: its masks follow clicks by the rule alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from msam_nn.networks.decoding.corrections import HELD, equal_lengths, follow_points
from msam_nn.networks.layers.basic import Triple
from msam_nn.networks.promptable import Points, PromptableNetwork


class FollowingNetwork(PromptableNetwork):
    """A 3D network of nnU-Net's, or of anyone's who plugs into it, with clicks on its masks.

    ``network(image)`` is the network's own answer. A stage moves the masks by
    :func:`~msam_nn.networks.decoding.corrections.follow_points`: nothing is learned, and the image is looked at for the
    first masks alone. Features and states are mask logits ``(B, k, D, H, W)``.

    Arguments:
        network: from ``(B, C, D, H, W)`` to logits ``(B, num_outputs, D, H, W)``.
        num_outputs: classes and background, or regions.
        background: the first output is the background's (softmax data sets).
        spacing: of the voxels, per axis: how far a click reaches.
    """

    n_auto_stages = 1
    has_initial_masks = True
    reads_features = False

    def __init__(
        self, network: nn.Module, *, patch_size: Triple, num_outputs: int, background: bool, spacing: Sequence[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.patch_size, self.background = tuple(patch_size), background
        self.num_classes = num_outputs - int(background)
        self.voxels_per_length = equal_lengths(spacing)
        self.click_reach = HELD

    def encode(self, image: Tensor) -> Tensor:
        self.insist_on_patch(image)
        return self.relative_masks(self.network(image))

    def refine(
        self, features: Tensor | None, prompts: Points | None, state: Tensor | None, classes: Tensor | None = None
    ) -> Tensor:
        """One stage; without prompts at the first it is the network's own masks. Without features it takes a state."""
        if state is None:
            state = features if classes is None else features[:, classes]
        return state if prompts is None else follow_points(state, prompts, unit=self.voxels_per_length).masks

    def masks(self, state: Tensor) -> Tensor:
        return state

    def resume(self, masks: Tensor, clicks: Points | None = None) -> Tensor:
        return masks

    @torch.compiler.disable(recursive=False)
    def forward(self, image: Tensor, prompt_source=None, n_stages=None, classes=None, silent=range(0)) -> Any:
        """The network's own answer, or with a prompt source the stages' logits."""
        if prompt_source is None:
            return self.network(image)
        return super().forward(image, prompt_source, n_stages, classes, silent)
