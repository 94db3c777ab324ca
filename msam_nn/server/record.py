"""What a session is worth keeping for: its segmentation, and the prompts it took."""

from __future__ import annotations

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
