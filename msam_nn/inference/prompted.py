"""Correct an automatic whole-volume prediction with clicks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.inference.clicks import REACH, Click, honour_clicks
from msam_nn.networks import MSAM
from msam_nn.networks.config import Triple
from msam_nn.networks.layers import upsample
from msam_nn.networks.msam import ImageFeatures, Points, RefinementState
from msam_nn.networks.prompt_encoder import write_clicks

WINDOW_RAMP = 0.125
"""Share of a window's edge over which its result fades into what was there before, where the window ends inside."""


class PromptedPredictor(nnUNetPredictor):
    """nnU-Net's predictor for one image at a time, with clicks.

    ``set_image`` predicts automatically by nnU-Net's sliding window. Each click then refines the clicked class in a
    window of the patch size around the click: the current mask is the mask prompt, the click the point, all clicks so
    far in that window are written into the mask prompt. A window is encoded once. With several folds their mask logits
    are averaged. Coordinates are voxels of the preprocessed image in array order ``(z, y, x)``.

    >>> predictor = PromptedPredictor(device=torch.device("cpu"))  # doctest: +SKIP
    >>> predictor.initialize_from_trained_model_folder(folder, use_folds=(0,))  # doctest: +SKIP
    >>> predictor.set_image(preprocessed_image)  # doctest: +SKIP
    >>> predictor.add_click(Click(class_index=0, voxel=(40, 31, 27), positive=True))  # doctest: +SKIP
    """

    def initialize_from_trained_model_folder(
        self, model_training_output_dir, use_folds, checkpoint_name="checkpoint_final.pth"
    ):
        super().initialize_from_trained_model_folder(model_training_output_dir, use_folds, checkpoint_name)
        if not isinstance(self.network, MSAM):
            raise UserError(
                f"{model_training_output_dir} holds a {type(self.network).__name__}, which takes no prompts: "
                f"only M-SAM models can be clicked."
            )

    @torch.inference_mode()
    def set_image(self, image: Tensor) -> Tensor:
        """Predict ``(C, D, H, W)`` without prompts and forget all clicks.

        Returns:
            nnU-Net's logits ``(num_outputs, D, H, W)``.
        """
        patch = self.network.config.patch_size
        self._image, revert = pad_nd_image(image.float(), patch, "constant", {"value": 0}, True, None)
        self._crop = tuple(revert[1:])
        self._offset = tuple(int(s.start or 0) for s in self._crop)
        self._features: dict[tuple[int, Triple], ImageFeatures] = {}
        self._clicks: list[Click] = []
        self._masks = None
        logits = []
        for parameters in self.list_of_parameters:
            self.network.load_state_dict(parameters)
            logits.append(self.predict_sliding_window_return_logits(self._image).float().cpu())
        logits = torch.stack(logits).mean(0)
        self._masks = logits[1:] if self.network.config.background else logits
        return self.logits

    @property
    def logits(self) -> Tensor:
        """Current logits ``(num_outputs, D, H, W)``, in which every click holds."""
        config = self.network.config
        sigma = [REACH * edge for edge in config.token_size]
        masks = honour_clicks(self._masks, self._clicks, sigma=sigma, exclusive=config.background)
        return self.network.add_background(masks[None])[0][(slice(None), *self._crop)]

    @torch.inference_mode()
    def add_click(self, click: Click) -> Tensor:
        """Refine the clicked class around the click.

        Returns:
            nnU-Net's logits ``(num_outputs, D, H, W)``.

        Raises:
            UserError: if no image is set, or the click lies outside the image or names no class.
        """
        if getattr(self, "_masks", None) is None:
            raise UserError("There is no image to click on: call set_image first.")
        size = [s.stop - s.start for s in self._crop]
        if not all(0 <= v < n for v, n in zip(click.voxel, size, strict=True)):
            raise UserError(f"The click {click.voxel} lies outside the image of {tuple(size)} voxels.")
        if not 0 <= click.class_index < len(self._masks):
            raise UserError(
                f"The click names class {click.class_index}; this model has classes 0 to {len(self._masks) - 1}."
            )
        click = click.shifted(self._offset)
        self._clicks.append(click)
        start = self._window_around(click.voxel)
        refined = torch.stack([self._refine(fold, start, click) for fold in range(len(self.list_of_parameters))]).mean(
            0
        )
        region = (click.class_index, *(slice(s, s + p) for s, p in zip(start, refined.shape, strict=True)))
        weight = self._window_weight(start)
        self._masks[region] = weight * refined + (1 - weight) * self._masks[region]
        return self.logits

    def _window_around(self, voxel: Sequence[int]) -> Triple:
        """Start of the window of patch size around a voxel, moved into the image."""
        sizes = zip(voxel, self.network.config.patch_size, self._image.shape[1:], strict=True)
        return tuple(min(max(v - p // 2, 0), n - p) for v, p, n in sizes)

    def _window_weight(self, start: Triple) -> Tensor:
        """1 inside the window, falling towards the sides where the image goes on."""
        ramps = []
        for s, p, n in zip(start, self.network.config.patch_size, self._image.shape[1:], strict=True):
            position = torch.arange(p) + 0.5
            width = max(1.0, WINDOW_RAMP * p)
            ramp = torch.ones(p)
            if s > 0:
                ramp = ramp.minimum(position / width)
            if s + p < n:
                ramp = ramp.minimum((p - position) / width)
            ramps.append(ramp)
        return torch.einsum("d,h,w->dhw", *ramps)

    def _refine(self, fold: int, start: Triple, click: Click) -> Tensor:
        """One refinement stage of one fold's network in a window; mask logits ``(d, h, w)`` on the CPU."""
        network, config = self.network, self.network.config
        if len(self.list_of_parameters) > 1:
            network.load_state_dict(self.list_of_parameters[fold])
        region = tuple(slice(s, s + p) for s, p in zip(start, config.patch_size, strict=True))
        key = (fold, start)
        if key not in self._features:
            window = self._image[(slice(None), *region)][None].to(self.device)
            self._features[key] = network.encode(window)
        mask = self._masks[click.class_index][region][None, None].to(self.device)
        low_resolution = F.interpolate(mask, size=config.mask_size, mode="trilinear", align_corners=False)
        state = RefinementState(low_resolution, self._written_clicks(start, click))
        point = torch.tensor([v - s for v, s in zip(click.voxel, start, strict=True)], device=self.device)
        points = Points(point.view(1, 1, 1, 3), torch.full((1, 1, 1), int(click.positive), device=self.device))
        classes = torch.tensor([click.class_index], device=self.device)
        refined = network.refine(self._features[key], points, state, classes).logits
        return upsample(refined, config.patch_size)[0, 0].float().cpu()

    def _written_clicks(self, start: Triple, newest: Click) -> Tensor | None:
        """Earlier clicks on the same class, as the network's click map of this window."""
        config = self.network.config
        earlier = [c for c in self._clicks if c.class_index == newest.class_index and c is not newest]
        if config.click_sigma <= 0 or not earlier:
            return None
        points = torch.tensor([c.voxel for c in earlier], device=self.device) - torch.tensor(start, device=self.device)
        labels = torch.tensor([int(c.positive) for c in earlier], device=self.device)
        return write_clicks(
            points[None, None],
            labels[None, None],
            token_size=config.token_size,
            mask_size=config.mask_size,
            sigma=config.click_sigma,
            logit=config.click_logit,
        )
