"""What one prompt for each true object gives, kind by kind, on the validation cases of a trained model.

    python benchmarks/accuracy/prompts.py -d 501 -tr MSAMTrainer_15cpuminutes -p MSAMPlans -f 0

Prompts are drawn on the network's grid: a point deepest in the object; a box around it, and one whose sides are each up
to a tenth of the edge off, a voxel at least; in its largest section, in each of the three planes in turn, a flat box, a
lasso and a scribble along its middle. Mean Dice of classes and cases on the original grid, without mirroring, with
prompts on the automatic mask, on an empty one, and on an automatic mask that misses everything (logits of -3 at most).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from trained_model import from_command_line

from msam_nn.evaluation.clicks.case import ClickCase
from msam_nn.evaluation.clicks.protocol import run_protocol
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.image import PromptedImage
from msam_nn.inference.prompting.windows import Box, slices
from msam_nn.metrics.scores import TOLERANCE_MM
from msam_nn.prompts.from_mask import bounds, objects
from msam_nn.prompts.users import centre_of_largest_error

MIN_VOXELS = 5
"""Smaller objects get no prompt."""

MISSED = -3.0
"""Logits of masks that miss everything, at most."""

STARTS = ("automatic", "empty", "missed")
KINDS = ("point", "box", "loose box", "flat box", "lasso", "scribble")

Act = Callable[[PromptedImage, int], None]


class OnePromptEach:
    """A protocol of :func:`run_protocol`: ``strategy`` is the kind of prompt with its plane, ``seed`` the start."""

    def __call__(self, predictor: PromptedPredictor, case: ClickCase) -> Iterator[dict[str, Any]]:
        spacing, generator = predictor.configuration_manager.spacing, np.random.default_rng(0)
        prompts: dict[str, list[tuple[int, Act]]] = {}
        for index, target in enumerate(case.targets):
            for piece, place in objects(target & case.valid, MIN_VOXELS):
                box = tuple(zip(*[iter(bounds(place))] * 2, strict=True))
                for kind, act in acts(piece, box, target.shape, spacing, generator):
                    prompts.setdefault(kind, []).append((index, act))
        predictor.set_image(case.image, automatic=False)
        automatic = predictor.predict_masks(predictor.image)
        for seed, start in enumerate((automatic, None, automatic.clamp(max=MISSED))):
            predictor.image.start_from(start)
            for kind, given in {"none": [], **prompts}.items():
                predictor.reset()
                for index, act in given:
                    act(predictor.image, index)
                for score in case.measure(predictor, predictor.logits, TOLERANCE_MM):
                    yield {"strategy": kind, "seed": seed, "clicks": len(given), "seconds": np.nan, **score}


def acts(
    piece: np.ndarray, box: Box, shape: Sequence[int], spacing: Sequence[float], generator: np.random.Generator
) -> Iterator[tuple[str, Act]]:
    """Prompts for an object, a bool array of the size of its box in an image of ``shape`` voxels."""
    deepest = tuple(int(v + a) for v, (a, _) in zip(centre_of_largest_error(piece, spacing), box, strict=True))
    loose = moved(box, shape, generator)
    yield "point", lambda image, k: image.add_points([Click(k, deepest, True)])
    yield "box", lambda image, k: image.add_box(k, box)
    yield "loose box", lambda image, k: image.add_box(k, loose)
    for axis in range(3):
        yield from acts_in_slice(piece, box, axis)


def acts_in_slice(piece: np.ndarray, box: Box, axis: int) -> Iterator[tuple[str, Act]]:
    """Prompts in the largest section of an object across an axis."""
    n = int(piece.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
    section = piece.take([n], axis)
    place = tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(section))
    section = section[slices(place)]
    origin = [n if a == axis else 0 for a in range(3)]
    there = tuple((a + o + c, b + o + c) for (a, b), o, (c, _) in zip(place, origin, box, strict=True))
    lasso, scribble = torch.from_numpy(section), torch.from_numpy(middle_line(section))
    yield f"flat box {axis}", lambda image, k: image.add_box(k, there, through=axis)
    yield f"lasso {axis}", lambda image, k: image.add_drawing(k, there, lasso, True, axis)
    yield f"scribble {axis}", lambda image, k: image.add_drawing(k, there, scribble, True, axis)


def middle_line(section: np.ndarray) -> np.ndarray:
    """A line along the longest edge of a flat section, in its middle everywhere."""
    along = int(np.argmax(section.shape))
    line = np.zeros_like(section)
    voxels = np.argwhere(section)
    for position in np.unique(voxels[:, along]):
        row = voxels[voxels[:, along] == position]
        line[tuple(row[len(row) // 2])] = True
    return line


def moved(box: Box, shape: Sequence[int], generator: np.random.Generator) -> Box:
    """A box whose sides are each up to a tenth of the edge off, a voxel at least."""
    loose = []
    for (lower, upper), n in zip(box, shape, strict=True):
        most = max(1, round((upper - lower) / 10))
        first, last = (int(end + generator.integers(-most, most + 1)) for end in (lower, upper))
        first = min(max(first, 0), n - 1)
        loose.append((first, min(max(last, first + 1), n)))
    return tuple(loose)


def main() -> None:
    """Print a Markdown table."""
    model = from_command_line(__doc__)
    protocol = OnePromptEach()
    scores, failed = run_protocol(protocol, model.folder, (model.fold,), model.images, model.labels, model.device)
    for case, reason in failed.items():
        print(f"{case} failed: {reason}")
    scores["kind"] = scores.strategy.str.replace(r" \d$", "", regex=True)
    table = scores.groupby(["kind", "seed"]).dice.mean().unstack().reindex(("none", *KINDS))
    print(f"\n{model.title}, {scores.case.nunique()} cases\n")
    print("| prompt | " + " | ".join(STARTS) + " |")
    print("|---" * (1 + len(STARTS)) + "|")
    for kind, row in table.iterrows():
        print(f"| {kind} | " + " | ".join(f"{value:.3f}" for value in row) + " |")


if __name__ == "__main__":
    main()
