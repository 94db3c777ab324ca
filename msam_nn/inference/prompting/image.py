"""One image that prompts segment: what each of them does in the windows around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicked_masks import MASK_LOGIT, ClickedMasks
from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.refiner import WindowRefiner
from msam_nn.inference.prompting.stages import EMPTY, Stages
from msam_nn.inference.prompting.windows import Box, bounding_box, shifted, slices
from msam_nn.networks.layers.basic import Triple
from msam_nn.prompts.from_mask import spread_points
from msam_nn.prompts.users import ACROSS, centre_of_largest_error

MAX_WINDOWS = 16
"""Windows that one prompt may reach at most."""

MOST_POINTS = 8
"""Clicks on a scribble or a lasso at most. What is wrongly included a network that corrects masks is shown by one: more
take away what was right (``benchmarks/NOTES.md``)."""


class PromptedImage:
    """An image, what is segmented in it, and the prompts that did it.

    Each prompt refines its class in a window of the patch size around it: the current mask is the mask prompt, the
    click the point, all clicks so far are written beside the mask for networks that read them there. Where the object
    it added reaches a side of the window, neighbouring windows continue it. Coordinates are voxels of the preprocessed
    image in array order ``(z, y, x)``. What follows a prompt returns the box of voxels whose logits may have changed,
    or None.

    Arguments:
        refiner: of the image, padded to the patch size at least.
        crop: where the image lies in the padded one.
        start: mask logits ``(K, ...)`` of the padded image to start from, of any precision; None is an empty mask.

    Attributes:
        max_windows: windows that one prompt may reach; 1 keeps to the window around it.
        honours_clicks: a click that the network overlooked is made to hold; False shows the network's own masks.
    """

    def __init__(self, refiner: WindowRefiner, crop: Sequence[slice], start: Tensor | None = None) -> None:
        self._refiner = refiner
        self._crop = tuple(crop)
        self._offset = tuple(int(s.start or 0) for s in self._crop)
        self.shape: Triple = tuple(s.stop - s.start for s in self._crop)
        self.network = refiner.networks[0]
        self.max_windows = MAX_WINDOWS
        self.honours_clicks = True
        self.start_from(start)

    def start_from(self, start: Tensor | None) -> None:
        """Replace what :meth:`reset` goes back to, and go back to it."""
        self._start = start
        self.reset()

    def reset(self) -> None:
        """Forget all prompts, keep the image, its start and its encoded windows."""
        size = (self.network.num_classes, *self._refiner.image.shape[1:])
        start = torch.tensor(EMPTY).expand(size) if self._start is None else self._start
        self._state = ClickedMasks(start, self.network.click_reach, exclusive=self.network.background)
        self._stages = Stages(self._refiner, self._state)

    def forget_history(self) -> None:
        """What is there now cannot be undone."""
        self._state.forget_history()

    def forget_features(self) -> None:
        """Free the encoded windows; what needs them encodes them again."""
        self._refiner.forget()

    @property
    def has_start(self) -> bool:
        """Whether :meth:`reset` goes back to something else than an empty mask."""
        return self._start is not None

    @property
    def padded_image(self) -> Tensor:
        """``(C, ...)``, of the patch size at least."""
        return self._refiner.image

    @property
    def clicks(self) -> list[Click]:
        """All clicks that were not undone, oldest first."""
        return [click.shifted([-o for o in self._offset]) for click in self._state.clicks]

    @property
    def unfinished(self) -> list[tuple[int, Triple]]:
        """Class and voxel where an object goes on beyond :attr:`max_windows`: click there."""
        return self._state.unfinished

    @property
    def can_undo(self) -> bool:
        return self._state.can_undo

    @property
    def can_redo(self) -> bool:
        return self._state.can_redo

    def masks(self, box: Box | None = None) -> Tensor:
        """Current mask logits ``(K, D, H, W)`` of a box, in which every click holds (unless :attr:`honours_clicks` is
        off); of the whole image by default."""
        box = box or tuple((0, n) for n in self.shape)
        region = slices(shifted(box, self._offset))
        if not self.honours_clicks:
            return self._state.logits[(slice(None), *region)]
        return self._state.holding(region)

    def logits(self) -> Tensor:
        """:meth:`masks` as logits ``(num_outputs, D, H, W)`` in nnU-Net's convention."""
        return self.network.add_background(self.masks()[None])[0]

    def add_points(self, clicks: Sequence[Click]) -> Box | None:
        """Follow clicks one after the other; all of them are one step for :meth:`undo`.

        A negative click where no prompt has led yet has nothing to take away: it is remembered for later stages. So is
        one that is right already, by networks that correct masks.

        Raises:
            UserError: if a click lies outside the image or names no class; nothing is changed then.
        """
        for click in clicks:
            self._check_class(click.class_index)
            if not all(0 <= v < n for v, n in zip(click.voxel, self.shape, strict=True)):
                raise UserError(f"The click {click.voxel} lies outside the image of {self.shape} voxels.")
        with self.step() as step:
            for click in clicks:
                click = click.shifted(self._offset)
                self._follow(click, self._stages.is_due(click))
        return self._in_image(self._state.changed(step))

    def add_box(self, class_index: int, box: Box, through: int | None = None) -> Box | None:
        """Segment the object of a class inside a box; outside of it the mask stays as it is.

        The network has no embedding for boxes (nor has the released SAM-Med3D), so it is told with what it knows: a
        mask prompt that rules out everything outside, and a point in the centre, which is a hint and not a promise.
        Masks of networks that correct them reach the sides then (:class:`~msam_nn.inference.prompting.boxes.DrawnBox`).

        Arguments:
            through: the axis across the slice of a flat box, which bounds its object in that slice and not beyond.

        Raises: like :meth:`add_points`.
        """
        drawn = DrawnBox(self._padded(class_index, box), through)
        with self.step() as step:
            self._spread(Click(class_index, drawn.centre, positive=True), drawn)
            if self.network.has_initial_masks:
                self._stages.reach_sides(class_index, drawn)
        return self._in_image(self._state.changed(step))

    def add_drawing(
        self, class_index: int, box: Box, drawn: Tensor, positive: bool, through: int | None = None
    ) -> Box | None:
        """Follow a scribble or a lasso; one step. Clicks on it are followed, and all of it is in later mask prompts.

        Networks that correct masks are clicked in the middle of what is wrong of it, the largest piece first, until
        nothing is; of what is drawn through several slices they learn nothing but the drawing itself. Other networks
        are clicked all over the drawing.

        Arguments:
            box, drawn: a box, and bool of its size: what was drawn; nothing drawn changes nothing.
            through: the axis across the slice that it was drawn in; None if it was drawn through several.

        Raises: like :meth:`add_points`.
        """
        region = slices(self._padded(class_index, box))
        if not drawn.any():
            return None
        with self.step() as step:
            if self.network.has_initial_masks:
                if through is not None:
                    self._click_errors(class_index, region, drawn, positive, through)
                self._write_drawing(class_index, region, drawn, positive)
            else:
                quarter = [p / 4 for p in self._refiner.windows.patch]
                points = spread_points(drawn.numpy(), quarter, MOST_POINTS)
                clicks = [Click(class_index, _moved(point, region), positive) for point in points]
                due = [self._stages.is_due(click) for click in clicks]
                self._write_drawing(class_index, region, drawn, positive)
                for click, is_due in zip(clicks, due, strict=True):
                    self._follow(click, is_due)
        return self._in_image(self._state.changed(step))

    @torch.inference_mode()
    def set_mask(self, class_index: int, mask: Tensor) -> Box | None:
        """Start a class from a mask: it replaces the class's current one, and clicks correct it.

        Arguments:
            mask: ``(D, H, W)``, share of each voxel inside, 0 to 1. Above one half other exclusive classes give way.

        Raises: like :meth:`add_points`.
        """
        self._check_class(class_index)
        if tuple(mask.shape) != self.shape:
            raise UserError(f"The mask has {tuple(mask.shape)} voxels, the image {self.shape}.")
        own = MASK_LOGIT * (2 * mask.float() - 1)
        with self.step() as step:
            self._state.write((class_index, *self._crop), own)
            found = bounding_box(own > -MASK_LOGIT) or ((0, 0),) * 3
            box, inside = shifted(found, self._offset), own[slices(found)].clone()
            if self.network.has_initial_masks:
                self._state.given = {**self._state.given, class_index: (box, inside)}
            if self.network.background:
                self._make_way(class_index, slices(box), inside > 0)
        return self._in_image(self._state.changed(step))

    def refine_mask(self, class_index: int, box: Box) -> Box | None:
        """Refine a class all over a box without a point, in up to ``max_windows`` windows.

        None for networks with initial masks, which correct around clicks and nowhere else.

        Raises: like :meth:`add_points`.
        """
        if self.network.has_initial_masks:
            return None
        starts = self._stages.windows_over(self._padded(class_index, box))
        with self.step() as step:
            for start in starts[: self.max_windows]:
                self._stages.refine(class_index, start)
            for start in starts[self.max_windows : self.max_windows + 1]:
                middle = [
                    s + p // 2 - o for s, p, o in zip(start, self._refiner.windows.patch, self._offset, strict=True)
                ]
                inside = (min(max(m, 0), n - 1) for m, n in zip(middle, self.shape, strict=True))
                self._state.unfinished.append((class_index, tuple(inside)))
        return self._in_image(self._state.changed(step))

    def step(self) -> AbstractContextManager:
        """Make what happens inside, prompts among it, one step for :meth:`undo`; an error leaves no trace."""
        return self._state.step()

    def undo(self) -> Box | None:
        """Take the last step back, bit for bit.

        Raises:
            UserError: if there is none, or it lies too many steps back.
        """
        return self._in_image(self._state.undo())

    def redo(self) -> Box | None:
        """Follow the prompt again that :meth:`undo` took back, bit for bit and without the network.

        Raises:
            UserError: if no step was undone, or a prompt came after it.
        """
        return self._in_image(self._state.redo())

    def _check_class(self, class_index: int) -> None:
        n = self.network.num_classes
        if not 0 <= class_index < n:
            raise UserError(f"The prompt names class {class_index}; there are classes 0 to {n - 1}.")

    def _padded(self, class_index: int, box: Box) -> Box:
        """A prompt's box in the padded image.

        Raises:
            UserError: if the class or the box is impossible.
        """
        self._check_class(class_index)
        if not all(0 <= lower < upper <= n for (lower, upper), n in zip(box, self.shape, strict=True)):
            raise UserError(f"The box {box} is empty or leaves the image of {self.shape} voxels.")
        return shifted(box, self._offset)

    def _in_image(self, box: Box | None) -> Box | None:
        """The part of a box of the padded image that lies in the image."""
        if box is None:
            return None
        own = shifted(box, [-o for o in self._offset])
        return tuple((max(lower, 0), min(upper, n)) for (lower, upper), n in zip(own, self.shape, strict=True))

    def _click_errors(
        self, class_index: int, region: Sequence[slice], drawn: Tensor, positive: bool, through: int
    ) -> None:
        """Click what is wrong of a flat drawing, as a user would who saw no more than its slice; of several slices of
        the network's that it lies in or between, the one that holds most of it."""
        fullest = int(drawn.sum([axis for axis in range(3) if axis != through]).argmax())
        first = region[through].start + fullest
        region = (*region[:through], slice(first, first + 1), *region[through + 1 :])
        drawn = drawn.narrow(through, fullest, 1)
        lengths = [1 / u for u in self.network.voxels_per_length]
        spacing = [ACROSS if n == 1 else length for n, length in zip(drawn.shape, lengths, strict=True)]
        for _ in range(MOST_POINTS if positive else 1):
            wrong = drawn & (self._state.found(class_index, region) != positive)
            centre = centre_of_largest_error(wrong.numpy(), spacing)
            if centre is None:
                return
            self._follow(Click(class_index, _moved(centre, region), positive), is_due=True)

    def _write_drawing(self, class_index: int, region: Sequence[slice], drawn: Tensor, positive: bool) -> None:
        old = self._state.logits[(class_index, *region)]
        told = old.clamp(min=MASK_LOGIT) if positive else torch.where(old == EMPTY, old, old.clamp(max=-MASK_LOGIT))
        self._state.write((class_index, *region), torch.where(drawn, told, old))

    def _make_way(self, class_index: int, region: Sequence[slice], mask: Tensor) -> None:
        """Take the voxels of a mask away from all classes but one."""
        for index in set(range(self.network.num_classes)) - {class_index}:
            current = self._state.logits[(index, *region)]
            taken = mask & (current > -MASK_LOGIT)
            if taken.any():
                self._state.write((index, *region), torch.where(taken, -MASK_LOGIT, current))

    def _follow(self, click: Click, is_due: bool) -> None:
        click = replace(click, held=not is_due)
        self._state.clicks.append(click)
        if is_due:
            self._spread(click)

    def _spread(self, click: Click, box: DrawnBox | None = None) -> None:
        beyond = self._stages.spread(click, self.max_windows, box)
        if beyond is not None:
            voxel = tuple(v - o for v, o in zip(beyond, self._offset, strict=True))
            self._state.unfinished.append((click.class_index, voxel))


def _moved(voxel: Sequence[int], region: Sequence[slice]) -> Triple:
    """A voxel of a region in the image."""
    return tuple(int(v + s.start) for v, s in zip(voxel, region, strict=True))
