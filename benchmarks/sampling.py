"""How often training sees lesions of very different size: nnU-Net's sampling against M-SAM's, as a Markdown table.

    python benchmarks/sampling.py

Every generated case has one ball-shaped lesion of each radius at a random place. A lesion counts as seen if its centre
lies in the patch. Both columns use nnU-Net's data loader with the same share of patches placed on foreground.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.trainers.component_sampling import ComponentDataset

SHAPE, PATCH, RADII = (96, 160, 160), (32, 64, 64), (2, 4, 8, 16)
LABELS = LabelManager({"background": 0, "lesion": 1}, None)


class GeneratedLesions:
    """Cases in memory, as nnU-Net's data sets give them; the image holds each lesion's radius at its centre."""

    def __init__(self, n_cases: int) -> None:
        rng = np.random.default_rng(0)
        self.cases = {f"case{i}": self._draw(rng) for i in range(n_cases)}
        self.identifiers = list(self.cases)

    @staticmethod
    def _draw(rng: np.random.Generator) -> tuple:
        centres = np.zeros(SHAPE, dtype=np.float32)
        seg = np.zeros(SHAPE, dtype=np.int8)
        grid = np.indices(SHAPE)
        for radius in sorted(RADII, reverse=True):
            ball = np.ones(SHAPE, dtype=bool)
            while (ball & (seg > 0)).any() or ball.all():
                centre = [rng.integers(radius + 1, size - radius - 1) for size in SHAPE]
                reach = radius + 2  # balls do not touch
                ball = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= reach**2
            seg[sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2] = 1
            centres[tuple(centre)] = radius
        locations = DefaultPreprocessor._sample_foreground_locations(seg[None], [1])
        return centres[None], seg[None], None, {"class_locations": locations}

    def load_case(self, identifier: str) -> tuple:
        return self.cases[identifier]


def seen(dataset, n_patches: int, oversampling: float) -> dict[int, float]:
    """Share of the patches that hold the centre of the lesion of each radius."""
    loader = nnUNetDataLoader(
        dataset, 2, PATCH, PATCH, LABELS, oversample_foreground_percent=oversampling, probabilistic_oversampling=True
    )
    np.random.seed(0)
    counts: Counter[int] = Counter()
    for _ in range(n_patches // 2):
        for patch in next(loader)["data"]:
            counts.update(int(radius) for radius in patch.unique() if radius)
    return {radius: counts[radius] / n_patches for radius in RADII}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=4000)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--oversampling", type=float, default=0.72, help="share of the patches placed on foreground")
    args = parser.parse_args()
    dataset = GeneratedLesions(args.cases)
    stock = seen(dataset, args.patches, args.oversampling)
    ours = seen(ComponentDataset(dataset), args.patches, args.oversampling)
    print("| lesion's radius, voxels | share of the lesion voxels | seen, nnU-Net | seen, M-SAM |\n|---|---|---|---|")
    volumes = {radius: radius**3 / sum(r**3 for r in RADII) for radius in RADII}
    for radius in RADII:
        print(f"| {radius} | {volumes[radius]:.1%} | {stock[radius]:.1%} | {ours[radius]:.1%} |")


if __name__ == "__main__":
    main()
