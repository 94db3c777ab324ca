"""What a session is worth keeping for: its segmentation, and the prompts it took."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from msam_nn.inference.prompt_file import ClassPrompts, PromptFile
from msam_nn.server.images import SessionImage

INITIAL_MASK = "initial_mask.nii.gz"
"""What prompt files call the mask that a session started from."""


@dataclass(frozen=True)
class Prompt:
    """A prompt that was followed: what a prompt file says of it, and whether the network took part."""

    class_name: str
    points: list[tuple[int, ...]] = field(default_factory=list)
    boxes: list[tuple[int, ...]] = field(default_factory=list)
    network: bool = True


class PromptLog:
    """Prompts in the order in which they were followed, and those that were undone.

    Attributes:
        version: grows with every change.
        initial_mask: bool, what the session started from, or None. began: when it started, seconds since the epoch.
    """

    def __init__(self) -> None:
        self.version = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything; another object begins."""
        self.version += 1
        self.began = time.time()
        self._followed: list[Prompt] = []
        self._undone: list[Prompt] = []
        self.initial_mask: np.ndarray | None = None
        self._initial_class: str | None = None

    def start_from(self, mask: np.ndarray, class_name: str) -> None:
        """A class started from a mask."""
        self.initial_mask, self._initial_class = mask, class_name

    @property
    def is_empty(self) -> bool:
        """Whether nothing was prompted, and nothing undone."""
        return not (self._followed or self._undone or self.initial_mask is not None)

    @property
    def last(self) -> Prompt | None:
        """The prompt that would be undone."""
        return self._followed[-1] if self._followed else None

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def add(self, prompt: Prompt) -> None:
        """A prompt was followed; what was undone before it is gone."""
        self._followed.append(prompt)
        self._undone.clear()
        self.version += 1

    def undo(self) -> Prompt:
        """The last prompt counts no longer."""
        self._undone.append(self._followed.pop())
        self.version += 1
        return self._undone[-1]

    def redo(self) -> Prompt:
        """The last undone prompt counts again."""
        self._followed.append(self._undone.pop())
        self.version += 1
        return self._followed[-1]

    def file(self, case: str) -> PromptFile:
        """The prompts that count, as :func:`prompt_file` makes them."""
        return prompt_file(case, self._followed, self._initial_class)


@dataclass(frozen=True)
class SessionResult:
    """The segmentation of an image and how it came about.

    labels: uint8 (or more where labels need it) label map. initial_mask: bool, what the session started from, or None.
    began: seconds since the epoch, when it started.
    """

    image: SessionImage
    labels: np.ndarray
    initial_mask: np.ndarray | None
    prompts: PromptFile
    began: float


def prompt_file(case: str, prompts: Iterable[Prompt], initial_class: str | None) -> PromptFile:
    """The prompts of a case as ``msam predict`` reads them; ``initial_class`` started from :data:`INITIAL_MASK`.

    Of several points on a voxel the newest counts, as it did in the session.
    """
    prompts = list(prompts)
    newest = {point[:3]: (n, point) for n, prompt in enumerate(prompts) for point in prompt.points}
    classes: dict[str, ClassPrompts] = {}
    for n, prompt in enumerate(prompts):
        given = classes.get(prompt.class_name, ClassPrompts())
        kept = [point for point in prompt.points if newest[point[:3]] == (n, point)]
        classes[prompt.class_name] = ClassPrompts((*given.points, *kept), (*given.boxes, *prompt.boxes))
    if initial_class is not None:
        classes[initial_class] = replace(classes.get(initial_class, ClassPrompts()), mask=Path(INITIAL_MASK))
    return PromptFile({case: {name: given for name, given in classes.items() if given != ClassPrompts()}})
