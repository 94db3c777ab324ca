"""Correct an automatic whole-volume prediction with prompts, or segment with prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.image import PromptedImage
from msam_nn.inference.prompting.refiner import FeatureCache, WindowRefiner
from msam_nn.inference.prompting.windows import Box
from msam_nn.networks import PromptableNetwork
from msam_nn.networks.following import FollowingNetwork
from msam_nn.networks.layers.basic import Triple


class PromptedPredictor(nnUNetPredictor):
    """nnU-Net's predictor for one image at a time, with prompts.

    ``set_image`` predicts automatically by nnU-Net's sliding window, or starts from an empty mask; prompts are followed
    by a :class:`~msam_nn.inference.prompting.image.PromptedImage`. A window is encoded once, and a click near its
    middle uses it again. Results of several folds are averaged, with ``mirror_windows`` also those of mirrored windows.
    Coordinates are voxels of the preprocessed image in array order ``(z, y, x)``;
    :mod:`msam_nn.inference.placement` translates a user's.

    Several images at once share weights and memory for features: :meth:`open_image`.

    >>> predictor = PromptedPredictor(device=torch.device("cpu"))  # doctest: +SKIP
    >>> predictor.initialize_from_trained_model_folder(folder, use_folds=(0,))  # doctest: +SKIP
    >>> predictor.set_image(preprocessed_image)  # doctest: +SKIP
    >>> predictor.add_points([Click(class_index=0, voxel=(40, 31, 27), positive=True)])  # doctest: +SKIP
    """

    def __init__(self, *args, mirror_windows: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.mirror_windows = mirror_windows
        self.cache = FeatureCache()
        self._image: PromptedImage | None = None
        self._per_fold: tuple[list[dict], list[PromptableNetwork]] | None = None
        self._after_window: Callable[[], None] = lambda: None
        self._stopped = False

    def initialize_from_trained_model_folder(
        self, model_training_output_dir, use_folds, checkpoint_name="checkpoint_final.pth"
    ):
        """Load a model; networks that take no clicks themselves get a
        :class:`~msam_nn.networks.following.FollowingNetwork` around them.

        Raises:
            UnsupportedError: for 2D configurations.
        """
        super().initialize_from_trained_model_folder(model_training_output_dir, use_folds, checkpoint_name)
        patch = self.configuration_manager.patch_size
        if len(patch) != 3:
            raise UnsupportedError(f"{model_training_output_dir} is 2D, and clicks are 3D: use a 3D configuration.")
        if isinstance(self.promptable, PromptableNetwork):
            return
        is_compiled, network = self.promptable is not self.network, self.promptable
        self.network = FollowingNetwork(
            network,
            patch_size=patch,
            num_outputs=self.label_manager.num_segmentation_heads,
            background=not self.label_manager.has_regions,
            spacing=self.configuration_manager.spacing,
        )
        self.list_of_parameters = [{f"network.{k}": v for k, v in fold.items()} for fold in self.list_of_parameters]
        if is_compiled:
            self.network = torch.compile(self.network)

    @property
    def promptable(self) -> PromptableNetwork:
        """The network without torch.compile's wrapper."""
        return getattr(self.network, "_orig_mod", self.network)

    def set_image(self, image: Tensor, automatic: bool = True) -> Tensor:
        """Take a preprocessed image ``(C, D, H, W)`` and forget the one before.

        Arguments:
            automatic: predict it without prompts; otherwise prompts start from an empty mask.

        Returns:
            nnU-Net's logits ``(num_outputs, D, H, W)``.
        """
        if self._image is not None:
            self._image.forget_features()
            self._image = None
        prompted = self.open_image(image)
        if automatic:
            prompted.start_from(self.predict_masks(prompted))
        self._image = prompted
        return self.logits

    def open_image(self, image: Tensor) -> PromptedImage:
        """A preprocessed image ``(C, D, H, W)`` with an empty mask, to be prompted beside others."""
        image, revert = pad_nd_image(image.float(), self.promptable.patch_size, "constant", {"value": 0}, True, None)
        mirror_axes = (self.allowed_mirroring_axes or ()) if self.mirror_windows else ()
        refiner = WindowRefiner(self.networks(), image, self.device, mirror_axes, self.cache)
        return PromptedImage(refiner, revert[1:])

    @torch.inference_mode()
    def predict_masks(
        self, prompted: PromptedImage, on_progress: Callable[[float], bool] | None = None
    ) -> Tensor | None:
        """Predict an opened image without prompts, for :meth:`PromptedImage.start_from`.

        Arguments:
            on_progress: called after each window with the share done, 0 to 1; True stops the prediction. Where results
                do not fit on the GPU nnU-Net begins anew, and the share stays at 1 meanwhile.

        Returns:
            Mask logits ``(K, ...)`` of the padded image, in nnU-Net's half precision where background's are 0; None if
            it was stopped.
        """
        image = prompted.padded_image
        n_windows = len(self._internal_get_sliding_window_slicers(image.shape[1:])) * len(self.list_of_parameters)
        done = 0

        def after_window() -> None:
            nonlocal done
            done += 1
            self._stopped = bool(on_progress is not None and on_progress(min(done / n_windows, 1.0)))

        self._after_window = after_window
        logits: Tensor | None = None
        try:
            for parameters in self.list_of_parameters:
                self.promptable.load_state_dict(parameters)
                prediction = self.predict_sliding_window_return_logits(image).cpu()
                logits = prediction if logits is None else logits.add_(prediction)
                del prediction
            if self._stopped:
                return None
        finally:
            self._after_window, self._stopped = lambda: None, False
        if len(self.list_of_parameters) > 1:
            logits /= len(self.list_of_parameters)
        if not self.promptable.background:
            return logits
        return logits[1:].float().sub_(logits[:1]) if logits[0].any() else logits[1:]

    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        """nnU-Net calls this for each window; once stopped it rushes through the rest, as its loader thread needs."""
        if self._stopped:
            return x.new_zeros((len(x), self.label_manager.num_segmentation_heads, *x.shape[2:]))
        prediction = super()._internal_maybe_mirror_and_predict(x)
        self._after_window()
        return prediction

    def reset(self) -> Tensor:
        """Forget all prompts, keep the image, its automatic prediction and its encoded windows; returns the logits."""
        self.image.reset()
        return self.logits

    @property
    def image(self) -> PromptedImage:
        """The image that was set.

        Raises:
            UserError: if there is none.
        """
        if self._image is None:
            raise UserError("There is no image to prompt: call set_image first.")
        return self._image

    @property
    def logits(self) -> Tensor:
        """Current logits ``(num_outputs, D, H, W)`` in nnU-Net's convention, in which every click holds."""
        return self.image.logits()

    @property
    def clicks(self) -> list[Click]:
        """All clicks since :meth:`set_image` or :meth:`reset` that were not undone, oldest first."""
        return self.image.clicks

    @property
    def unfinished(self) -> list[tuple[int, Triple]]:
        """Class and voxel where an object goes on beyond the ``MAX_WINDOWS`` of its prompt: click there."""
        return [] if self._image is None else self._image.unfinished

    def predict(self) -> Tensor:
        """The same as :attr:`logits`: all prompts have been followed when they were added."""
        return self.logits

    def add_click(self, click: Click) -> Tensor:
        """:meth:`add_points` with one click."""
        return self.add_points([click])

    def add_points(self, clicks: Sequence[Click]) -> Tensor:
        """:meth:`PromptedImage.add_points`; returns the logits, as all of the following do."""
        self.image.add_points(clicks)
        return self.logits

    def add_box(self, class_index: int, box: Box, through: int | None = None) -> Tensor:
        """:meth:`PromptedImage.add_box`."""
        self.image.add_box(class_index, box, through)
        return self.logits

    def set_mask(self, class_index: int, mask: Tensor) -> Tensor:
        """:meth:`PromptedImage.set_mask`."""
        self.image.set_mask(class_index, mask)
        return self.logits

    def undo(self) -> Tensor:
        """:meth:`PromptedImage.undo`."""
        self.image.undo()
        return self.logits

    def redo(self) -> Tensor:
        """:meth:`PromptedImage.redo`."""
        self.image.redo()
        return self.logits

    def networks(self) -> list[PromptableNetwork]:
        """One network per fold, on the device, shared by all images."""
        if self._per_fold is None or self._per_fold[0] is not self.list_of_parameters:
            networks = [self.promptable] if len(self.list_of_parameters) == 1 else []
            for _ in self.list_of_parameters[len(networks) :]:
                networks.append(deepcopy(self.promptable))
            for network, parameters in zip(networks, self.list_of_parameters, strict=True):
                network.load_state_dict(parameters)
                network.to(self.device).eval()
            self._per_fold = (self.list_of_parameters, networks)
        return self._per_fold[1]
