"""What one prompt does in the window around it, and in those where its object goes on."""

from __future__ import annotations

from collections import deque
from itertools import product

import torch
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from torch import Tensor

from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicked_masks import ClickedMasks
from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.refiner import WindowRefiner
from msam_nn.inference.prompting.windows import CONTINUED_RAMP, WINDOW_RAMP, Box, seeded_objects
from msam_nn.networks.decoding.corrections import MARGIN
from msam_nn.networks.decoding.neighbourhood import best_other
from msam_nn.networks.layers.basic import Triple

EMPTY = -10.001
"""Logit where no prompt has led yet: background, and not told to the network. No number of half precision, in which
nnU-Net adds up the logits of an automatic prediction, so that none of these is taken for it."""


MOVED = 0.1
"""Logits by which a voxel of a mask from elsewhere has to be moved, or it stays as it was given."""


class Stages:
    """Refinement stages in windows of an image, blended into its masks.

    To a network without initial masks voxels where no prompt has led yet are an undecided mask prompt of 0. One that
    has initial masks corrects them, so there it is shown those of the window: a click begins with the object it is on,
    corrected where it is on none, and other objects stay unknown. It does nothing where nothing is wrong. A mask from
    elsewhere says where the object is and not how sure that is: there, too, it is shown its own masks, as far as they
    agree, and what a stage does not move stays as it was given. Of an object apart from that mask it says nothing: a
    click on one is followed as if there were no mask.

    Arguments:
        refiner: of the image.
        masks: those of the image and the clicks on it; :data:`EMPTY` where no prompt has led yet.
    """

    def __init__(self, refiner: WindowRefiner, masks: ClickedMasks) -> None:
        self._refiner, self._masks = refiner, masks
        self._network = refiner.networks[0]
        self._seen: set[Triple] = set()

    def windows_over(self, box: Box) -> list[Triple]:
        """Windows that overlap by half over a box and a quarter of a window around it."""
        windows, starts = self._refiner.windows, []
        for (lower, upper), p, n in zip(box, windows.patch, windows.shape, strict=True):
            first, last = max(lower - p // 4, 0), min(upper + p // 4, n)
            first = min(first, n - max(last - first, p))
            steps = compute_steps_for_sliding_window((max(last - first, p),), (p,), 0.5)[0]
            starts.append([first + step for step in steps])
        return list(product(*starts))

    def is_due(self, click: Click) -> bool:
        """Whether there is something to do for a click that is not among the masks' yet."""
        if self._network.has_initial_masks:
            return not self._masks.has_label(click)
        return click.positive or self._masks.logits[(click.class_index, *click.voxel)] != EMPTY

    @torch.inference_mode()
    def spread(self, click: Click, most: int, box: DrawnBox | None = None) -> Triple | None:
        """Refine around a click, then wherever the object it added leaves the window, until it stops.

        Arguments:
            most: windows at most. box: nothing changes where its object may not be.

        Returns:
            The voxel where the object goes on beyond these windows; None if it does not.
        """
        windows, done = self._refiner.windows, set()
        queue = deque([(click.voxel, click)])
        while queue:
            voxel, newest = queue.popleft()
            if any(windows.is_comfortable(start, voxel) for start in done):
                continue
            if len(done) == most:
                return voxel
            start = windows.best(voxel, self._seen & self._refiner.known)
            done.add(start)
            self._seen.add(start)
            # A network that corrects does nothing without a click: the voxel where the object goes on is one.
            lead = Click(click.class_index, voxel, positive=True) if self._network.has_initial_masks else None
            ramp = CONTINUED_RAMP if newest is None else WINDOW_RAMP
            exits = self.refine(click.class_index, start, newest, box, ramp, lead)
            queue.extend((exit_, None) for exit_ in exits)
        return None

    def refine(
        self,
        class_index: int,
        start: Triple,
        newest: Click | None = None,
        box: DrawnBox | None = None,
        ramp: float = WINDOW_RAMP,
        lead: Click | None = None,
    ) -> list[Triple]:
        """One stage in a window, blended into the mask.

        Arguments:
            newest: the user's click, if there is one; otherwise ``lead`` tells the network where to look.
            ramp: share of the window's edge over which it fades into what was there.

        Returns:
            The voxels where the object leaves the window.
        """
        windows = self._refiner.windows
        region = windows.region(start)
        old = self._masks.logits[(class_index, *region)]
        corrects, known = self._network.has_initial_masks, old != EMPTY
        given = self._masks.as_given(class_index, region)
        click = newest or lead
        at = None if click is None else tuple(v - s for v, s in zip(click.voxel, start, strict=True))
        automatic = None
        if corrects and bool((given | ~known).any()):
            automatic = self._refiner.automatic(start, class_index)
        if automatic is not None and box is None and click is not None and click.positive:
            other = given & _apart(automatic[1], at, given & (old > 0))
            old[other], known, given = EMPTY, known & ~other, given & ~other
        flat = box is not None and box.through is not None
        shown = self._shown(old, known, given, automatic)
        outside = None if box is None else ~box.inside(start, windows.patch, self._network.voxels_per_length)
        if outside is not None:
            shown[outside] = EMPTY
        asked = newest is not None and box is None and known[at]
        if corrects and shown[at] > 0 and not asked:
            refined = shown.clone()
        else:
            earlier = [c for c in self._masks.clicks if c.class_index == class_index and c is not newest]
            refined = self._refiner.refine(start, class_index, shown, click, earlier)
        if bool(given.any()):
            refined = torch.where(given & ((refined - shown).abs() < MOVED), old, refined)
        seeds = old > 0
        if newest is not None:
            seeds = torch.zeros_like(known)
            seeds[at] = newest.positive
            if flat:
                seeds = box.section().inside(start, windows.patch, self._network.voxels_per_length)
        if outside is not None:
            refined[outside] = EMPTY
        if corrects and not known.all() and (box is None or flat):
            refined[(refined > 0) & ~known & ~seeded_objects(refined > 0, seeds)] = EMPTY
        blended = torch.where(known, torch.lerp(old, refined, windows.weight(start, ramp)), refined)
        if outside is not None:
            blended[outside] = old[outside]
        self._masks.write((class_index, *region), blended)
        if newest is not None and not newest.positive:
            return []
        return windows.exits(start, refined, old, self._masks.logits.of(class_index), seeds)

    @torch.inference_mode()
    def reach_sides(self, class_index: int, box: DrawnBox) -> None:
        """Let the object that was found in a box reach its sides, where something has been found at all."""
        unit = self._network.voxels_per_length
        region = box.region(self._refiner.windows.shape, unit)
        start = [r.start for r in region]
        masks = self._masks.logits[(slice(None), *region)]
        own = masks[class_index]
        rival = best_other(masks[None], exclusive=self._network.background)[0, class_index]
        known = torch.where(own == EMPTY, -torch.inf, own - rival)
        reaching = rival + box.shifted([-s for s in start]).reaching(known, unit)
        moved = box.inside(start, own.shape, unit) & (reaching - own >= MOVED)
        self._masks.write((class_index, *region), torch.where(moved, reaching, own))

    def _shown(self, old: Tensor, known: Tensor, given: Tensor, automatic: tuple[Tensor, Tensor] | None) -> Tensor:
        """The mask prompt of a window: what is known, and for the rest what the network finds there (None: nothing is
        asked of it)."""
        if automatic is None:
            return torch.where(known, old, 0.0)
        logits, wins = automatic
        automatic = torch.where(wins, logits, logits.clamp(max=-MARGIN))
        agreeing = torch.where(old > 0, automatic.clamp(min=MARGIN), automatic.clamp(max=-MARGIN))
        return torch.where(given, agreeing, torch.where(known, old, automatic))


def _apart(wins: Tensor, at: Triple, inside: Tensor) -> Tensor:
    """Bool: the object at a voxel of what the network finds, if no voxel of it is ``inside`` a mask from elsewhere.
    That mask, of other objects, knows nothing of it."""
    seed = torch.zeros_like(wins)
    seed[at] = True
    found = seeded_objects(wins, seed)
    return found & ~(found & inside).any()
