"""A label map that changes box by box: what the network decided, what the user drew, what was already sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import cc3d
import numpy as np

from msam_nn.inference.prompting.history import History, Step
from msam_nn.inference.prompting.windows import Box, bounding_box, enclosing, overlap, shifted, slices

LABELS, DECIDED, HELD = range(3)
"""Layers: the result, the network's labels alone, and ``class + 1`` where the user drew (its negative: drew "not")."""


class TakenBack(NamedTuple):
    """Older drawings (bool of the size of a box) in which a prompt said the opposite: they do not hold any more where
    the network follows that prompt."""

    box: Box
    drawn: np.ndarray
    class_index: int
    positive: bool


@dataclass(frozen=True)
class Changes:
    """Labels of a box, upper bounds excluded."""

    box: Box
    labels: np.ndarray


class LabelBuffer:
    """The segmentation of one image on its own grid.

    A voxel follows the network where the network changes its mind, so that a given mask stays as it was elsewhere; what
    the user drew holds, the newest drawing first. A prompt inside an older drawing that said the opposite takes that
    back where the network follows the prompt.

    Arguments:
        shape: voxels per axis.
        members: per class, the labels that belong to it; the first is what a voxel drawn as that class gets.
    """

    def __init__(self, shape: Sequence[int], members: Sequence[Sequence[int]]) -> None:
        self.members = [tuple(labels) for labels in members]
        labels = [label for of_class in self.members for label in of_class]
        self._exclusive = len(set(labels)) == len(labels)
        # zeros are given no memory by the system until they are written
        self._layers = np.zeros((3, *shape), np.int16 if max(map(max, members)) > 127 else np.int8)
        self._history = History()
        self._unsent: list[Box] = []

    @property
    def labels(self) -> np.ndarray:
        """The label map; a view."""
        return self._layers[LABELS]

    @property
    def can_undo(self) -> bool:
        return self._history.can_undo

    def clear(self) -> None:
        """Back to no labels, and no history."""
        box = bounding_box(self._layers.any(0))
        if box is not None:
            self._layers[_slices(box)] = 0
            self._unsent.append(box)
        self.forget_history()

    def forget_history(self) -> None:
        """What is there now cannot be undone."""
        self._history.clear()

    def step(self) -> AbstractContextManager[Step]:
        """All changes inside are one step of the history; after an error there are none."""
        return self._history.step(self._exchange)

    def decide(
        self, box: Box, labels: np.ndarray, *, quietly: bool = False, taken_back: TakenBack | None = None
    ) -> None:
        """Take the network's labels of a box; quietly, only what it says from now on counts."""
        layers = self._layers[_slices(box)].copy()
        changed = layers[DECIDED] != labels
        layers[DECIDED] = labels
        shared = taken_back and overlap(box, taken_back.box)
        if shared:
            here, there = slices(shared, box), slices(shared, taken_back.box)
            follows = np.isin(labels[here], self.members[taken_back.class_index]) == taken_back.positive
            layers[HELD][here][changed[here] & follows & taken_back.drawn[there]] = 0
        if not quietly:
            np.copyto(layers[LABELS], layers[DECIDED], where=changed)
            self._hold(layers)
        self._replace(box, layers)

    def decided_box(self, box: Box) -> Box | None:
        """Where the network sees anything in a box."""
        found = bounding_box(self._layers[_slices(box)][DECIDED])
        return found and shifted(found, [first for first, _ in box])

    def hold(self, box: Box, drawn: np.ndarray, class_index: int, positive: bool) -> TakenBack | None:
        """Let drawn voxels of a box (bool of its size) keep a class, or stay out of it; returns the older drawings that
        said the opposite of one of them."""
        layers = self._layers[_slices(box)].copy()
        code = class_index + 1 if positive else -(class_index + 1)
        opposite = {-code}
        if positive and self._exclusive:
            opposite |= set(range(1, len(self.members) + 1)) - {code}
        contradicted = drawn & np.isin(layers[HELD], list(opposite))
        taken_back = None
        if contradicted.any():
            taken_back = self._taken_back(opposite, box, contradicted, class_index, positive)
        layers[HELD][drawn] = code
        self._hold(layers)
        self._replace(box, layers)
        return taken_back

    def start_class(self, class_index: int, mask: np.ndarray) -> None:
        """Replace a class by a mask, exactly."""
        boxes = [bounding_box(self._layers.any(0)), bounding_box(mask)]
        box = enclosing(boxes)
        if box is None:
            return
        layers, mask = self._layers[_slices(box)].copy(), mask[slices(box)]
        members = self.members[class_index]
        belongs = np.isin(layers[LABELS], members)
        layers[LABELS][belongs & ~mask] = 0
        layers[LABELS][mask & ~belongs] = members[0]
        self._replace(box, layers)

    def undo(self) -> None:
        """Take the last step back, bit for bit."""
        self._history.undo(self._exchange)

    def redo(self) -> None:
        """Take the last undone step again."""
        self._history.redo(self._exchange)

    def send_all(self) -> None:
        """Whoever receives changes starts from no labels: all there are have to be sent."""
        self._unsent = [box for box in [bounding_box(self.labels)] if box is not None]

    def send_again(self, box: Box) -> None:
        """Changes of a box did not arrive: they come with the next ones."""
        self._unsent.append(box)

    def take_changes(self) -> Changes | None:
        """Everything that changed since the last call, and maybe some voxels around it; None for nothing."""
        box, self._unsent = enclosing(self._unsent), []
        return box and Changes(box, self.labels[slices(box)].copy())

    def _taken_back(
        self, codes: set[int], box: Box, touched: np.ndarray, class_index: int, positive: bool
    ) -> TakenBack:
        """The connected pieces of drawings of these codes that a prompt touches in a box."""
        drawn = np.isin(self._layers[HELD], list(codes))
        around = bounding_box(drawn)
        pieces = cc3d.connected_components(drawn[slices(around)], connectivity=6)
        shared = overlap(box, around)
        chosen = np.unique(pieces[slices(shared, around)][touched[slices(shared, box)]])
        return TakenBack(around, np.isin(pieces, chosen), class_index, positive)

    def _hold(self, layers: np.ndarray) -> None:
        """Make drawn voxels keep what was drawn."""
        held = layers[HELD]
        if not held.any():
            return
        for code, members in enumerate(self.members, start=1):
            for here, positive in ((held == code, True), (held == -code, False)):
                if here.any():
                    labels = layers[LABELS][here]
                    labels[np.isin(labels, members) != positive] = members[0] if positive else 0
                    layers[LABELS][here] = labels

    def _replace(self, box: Box, layers: np.ndarray) -> None:
        """Write layers where they differ, and remember what was there."""
        differs = bounding_box((self._layers[_slices(box)] != layers).any(0))
        if differs is None:
            return
        place = shifted(differs, [first for first, _ in box])
        self._history.remember(place, self._exchange(place, layers[_slices(differs)]))

    def _exchange(self, box: Box, layers: np.ndarray) -> np.ndarray:
        """Write the layers of a box and return those that were there."""
        before = self._layers[_slices(box)].copy()
        self._layers[_slices(box)] = layers
        changed = bounding_box(before[LABELS] != layers[LABELS])
        if changed is not None:
            self._unsent.append(shifted(changed, [first for first, _ in box]))
        return before


def _slices(box: Box) -> tuple[slice, ...]:
    """Of all layers."""
    return (slice(None), *slices(box))
