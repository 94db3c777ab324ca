"""Correct an automatic whole-volume prediction with prompts, or segment with prompts alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.inference.clicks import Click, honour_clicks
from msam_nn.inference.refiner import WindowRefiner
from msam_nn.inference.windows import CONTINUED_RAMP, WINDOW_RAMP, Box
from msam_nn.networks import PromptableNetwork
from msam_nn.networks.layers.basic import Triple

EMPTY = -10.0
"""Logit where no prompt has led yet: background, but to the network an undecided mask prompt of 0."""

MASK_LOGIT = 5.0
"""Logit of a given mask inside, minus that outside."""

MAX_WINDOWS = 16
"""Windows that one prompt may reach at most."""

UNDO_STEPS = 32


@dataclass
class _Step:
    """Numbers of clicks and unfinished objects before a prompt, and the mask logits it overwrote."""

    n_clicks: int
    n_unfinished: int
    overwritten: list[tuple[tuple, Tensor]] = field(default_factory=list)


class PromptedPredictor(nnUNetPredictor):
    """nnU-Net's predictor for one image at a time, with prompts.

    ``set_image`` predicts automatically by nnU-Net's sliding window, or starts from an empty mask. Each prompt then
    refines its class in a window of the patch size around it: the current mask is the mask prompt, the click the point,
    all clicks so far are written into the mask prompt. Where the object it added reaches a side of the window,
    neighbouring windows continue it. A window is encoded once, and a click near its middle uses it again. Results of
    several folds are averaged, with ``mirror_windows`` also those of mirrored windows. Coordinates are voxels of the
    preprocessed image in array order ``(z, y, x)``; :mod:`msam_nn.inference.placement` translates a user's.

    ``unfinished`` lists class and voxel where an object goes on beyond the ``MAX_WINDOWS`` of its prompt: click there.

    >>> predictor = PromptedPredictor(device=torch.device("cpu"))  # doctest: +SKIP
    >>> predictor.initialize_from_trained_model_folder(folder, use_folds=(0,))  # doctest: +SKIP
    >>> predictor.set_image(preprocessed_image)  # doctest: +SKIP
    >>> predictor.add_points([Click(class_index=0, voxel=(40, 31, 27), positive=True)])  # doctest: +SKIP
    """

    def __init__(self, *args, mirror_windows: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.mirror_windows = mirror_windows
        self.unfinished: list[tuple[int, Triple]] = []
        self._masks: Tensor | None = None

    def initialize_from_trained_model_folder(
        self, model_training_output_dir, use_folds, checkpoint_name="checkpoint_final.pth"
    ):
        super().initialize_from_trained_model_folder(model_training_output_dir, use_folds, checkpoint_name)
        if not isinstance(self.promptable, PromptableNetwork):
            raise UserError(
                f"{model_training_output_dir} holds a {type(self.network).__name__}, which takes no prompts: "
                f"only M-SAM models can be clicked."
            )

    @property
    def promptable(self) -> PromptableNetwork:
        """The network without torch.compile's wrapper."""
        return getattr(self.network, "_orig_mod", self.network)

    @torch.inference_mode()
    def set_image(self, image: Tensor, automatic: bool = True) -> Tensor:
        """Take a preprocessed image ``(C, D, H, W)`` and forget the one before.

        Arguments:
            automatic: predict it without prompts; otherwise prompts start from an empty mask.

        Returns:
            nnU-Net's logits ``(num_outputs, D, H, W)``.
        """
        network, self._masks = self.promptable, None
        image, revert = pad_nd_image(image.float(), network.patch_size, "constant", {"value": 0}, True, None)
        self._crop = tuple(revert[1:])
        self._offset = tuple(int(s.start or 0) for s in self._crop)
        if automatic:
            logits = []
            for parameters in self.list_of_parameters:
                self.promptable.load_state_dict(parameters)
                logits.append(self.predict_sliding_window_return_logits(image).float().cpu())
            logits = torch.stack(logits).mean(0)
            self._start = logits[1:] - logits[:1] if network.background else logits
        else:
            self._start = torch.full((network.num_classes, *image.shape[1:]), EMPTY)
        mirror_axes = (self.allowed_mirroring_axes or ()) if self.mirror_windows else ()
        self._refiner = WindowRefiner(self._networks(), image, self.device, mirror_axes)
        return self.reset()

    def reset(self) -> Tensor:
        """Forget all prompts, keep the image, its automatic prediction and its encoded windows; returns the logits."""
        self._clicks: list[Click] = []
        self._steps: deque[_Step] = deque(maxlen=UNDO_STEPS)
        self.unfinished = []
        self._masks = self._start.clone()
        return self.logits

    @property
    def logits(self) -> Tensor:
        """Current logits ``(num_outputs, D, H, W)`` in nnU-Net's convention, in which every click holds."""
        self._check_image()
        network, masks = self.promptable, self._masks[(slice(None), *self._crop)]
        masks = honour_clicks(masks, self.clicks, sigma=network.click_reach, exclusive=network.background)
        return network.add_background(masks[None])[0]

    @property
    def clicks(self) -> list[Click]:
        """All clicks since :meth:`set_image` or :meth:`reset` that were not undone, oldest first."""
        self._check_image()
        return [click.shifted([-o for o in self._offset]) for click in self._clicks]

    def predict(self) -> Tensor:
        """The same as :attr:`logits`: all prompts have been followed when they were added."""
        return self.logits

    def add_click(self, click: Click) -> Tensor:
        """:meth:`add_points` with one click."""
        return self.add_points([click])

    def add_points(self, clicks: Sequence[Click]) -> Tensor:
        """Follow clicks one after the other; all of them are one step for :meth:`undo`.

        A negative click where no prompt has led yet has nothing to take away: it is remembered for later stages.

        Returns:
            nnU-Net's logits ``(num_outputs, D, H, W)``.

        Raises:
            UserError: if no image is set, or a click lies outside the image or names no class; nothing is changed then.
        """
        for click in clicks:
            self._check_class(click.class_index)
            if not all(0 <= v < n for v, n in zip(click.voxel, self._size, strict=True)):
                raise UserError(f"The click {click.voxel} lies outside the image of {self._size} voxels.")
        with self._step():
            for click in clicks:
                click = click.shifted(self._offset)
                self._clicks.append(click)
                if click.positive or self._masks[(click.class_index, *click.voxel)] != EMPTY:
                    self._spread(click)
        return self.logits

    def add_box(self, class_index: int, box: Box) -> Tensor:
        """Segment the object of a class inside a box; outside of it the mask stays as it is.

        The network has no embedding for boxes (nor has the released SAM-Med3D), so it is told with what it knows: a
        mask prompt that rules out everything outside, and a point in the centre, which is a hint and not a promise.

        Returns, raises: like :meth:`add_points`.
        """
        self._check_class(class_index)
        if not all(0 <= lower < upper <= n for (lower, upper), n in zip(box, self._size, strict=True)):
            raise UserError(f"The box {box} is empty or leaves the image of {self._size} voxels.")
        box = tuple((lower + o, upper + o) for (lower, upper), o in zip(box, self._offset, strict=True))
        centre = tuple((lower + upper - 1) // 2 for lower, upper in box)
        with self._step():
            self._spread(Click(class_index, centre, positive=True), box)
        return self.logits

    @torch.inference_mode()
    def set_mask(self, class_index: int, mask: Tensor) -> Tensor:
        """Start a class from a mask: it replaces the class's current one, and clicks correct it.

        Arguments:
            mask: ``(D, H, W)``, share of each voxel inside, 0 to 1. Above one half other exclusive classes give way.

        Returns, raises: like :meth:`add_points`.
        """
        self._check_class(class_index)
        if tuple(mask.shape) != self._size:
            raise UserError(f"The mask has {tuple(mask.shape)} voxels, the image {self._size}.")
        own = MASK_LOGIT * (2 * mask.float() - 1)
        with self._step():
            self._write((class_index, *self._crop), own)
            others = set(range(len(self._masks))) - {class_index} if self.promptable.background else ()
            for index in others:
                current = self._masks[index][self._crop]
                self._write((index, *self._crop), torch.where(own > 0, current.clamp(max=-MASK_LOGIT), current))
        return self.logits

    @torch.inference_mode()
    def undo(self) -> Tensor:
        """Take the last step back, bit for bit; returns the logits.

        Raises:
            UserError: if there is none, or it lies more than ``UNDO_STEPS`` steps back.
        """
        self._check_image()
        if not self._steps:
            raise UserError(f"There is nothing to undo: up to {UNDO_STEPS} steps since set_image or reset can be.")
        step = self._steps.pop()
        for region, values in reversed(step.overwritten):
            self._masks[region] = values
        del self._clicks[step.n_clicks :], self.unfinished[step.n_unfinished :]
        return self.logits

    def _networks(self) -> list[PromptableNetwork]:
        """One network per fold, on the device."""
        networks = [self.promptable] if len(self.list_of_parameters) == 1 else []
        for _ in self.list_of_parameters[len(networks) :]:
            networks.append(deepcopy(self.promptable))
        for network, parameters in zip(networks, self.list_of_parameters, strict=True):
            network.load_state_dict(parameters)
            network.to(self.device).eval()
        return networks

    @property
    def _size(self) -> Triple:
        return tuple(s.stop - s.start for s in self._crop)

    def _check_image(self) -> None:
        if self._masks is None:
            raise UserError("There is no image to prompt: call set_image first.")

    def _check_class(self, class_index: int) -> None:
        self._check_image()
        if not 0 <= class_index < len(self._masks):
            raise UserError(f"The prompt names class {class_index}; there are classes 0 to {len(self._masks) - 1}.")

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Make what happens inside one step for :meth:`undo`; an error leaves no trace."""
        self._steps.append(_Step(len(self._clicks), len(self.unfinished)))
        try:
            yield
        except BaseException:
            self.undo()
            raise

    def _write(self, region: tuple, values: Tensor) -> None:
        self._steps[-1].overwritten.append((region, self._masks[region].clone()))
        self._masks[region] = values

    @torch.inference_mode()
    def _spread(self, click: Click, box: Box | None = None) -> None:
        """Refine around a click, then wherever the object it added leaves the window, until it stops."""
        windows, done = self._refiner.windows, set()
        queue = deque([(click.voxel, click)])
        while queue:
            voxel, newest = queue.popleft()
            if any(windows.is_comfortable(start, voxel) for start in done):
                continue
            start = windows.best(voxel, self._refiner.known)
            if len(done) == MAX_WINDOWS:
                voxel = tuple(v - o for v, o in zip(voxel, self._offset, strict=True))
                self.unfinished.append((click.class_index, voxel))
                return
            done.add(start)
            queue.extend((exit_, None) for exit_ in self._refine(click.class_index, start, newest, box))

    def _refine(self, class_index: int, start: Triple, newest: Click | None, box: Box | None) -> list[Triple]:
        """One stage in a window, blended into the mask; returns the voxels where the object leaves the window."""
        windows = self._refiner.windows
        region = windows.region(start)
        old = self._masks[class_index][region].clone()
        known = old != EMPTY
        prompt = torch.where(known, old, 0.0)
        outside = None if box is None else ~windows.inside(box, start)
        if outside is not None:
            prompt[outside] = EMPTY
        earlier = [c for c in self._clicks if c.class_index == class_index and c is not newest]
        refined = self._refiner.refine(start, class_index, prompt, newest, earlier)
        if outside is not None:
            refined[outside] = EMPTY
        weight = windows.weight(start, CONTINUED_RAMP if newest is None else WINDOW_RAMP)
        blended = torch.where(known, torch.lerp(old, refined, weight), refined)
        if outside is not None:
            blended[outside] = old[outside]
        self._write((class_index, *region), blended)
        if newest is None:
            seeds = old > 0
        elif newest.positive:
            seeds = torch.zeros_like(known)
            seeds[tuple(v - s for v, s in zip(newest.voxel, start, strict=True))] = True
        else:
            return []
        return windows.exits(start, refined, old, self._masks[class_index], seeds)
