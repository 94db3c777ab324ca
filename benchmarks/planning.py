"""What MSAMPlanner decides for typical data sets, as the Markdown table in docs/planning.md.

    python benchmarks/planning.py                         # print the table
    python benchmarks/planning.py --write docs/planning.md  # replace it there, between its two marks

The fingerprints are generated: median shape, spacing and foreground fraction as usually met, no images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from msam_nn.networks import MSAMConfig
from msam_nn.preprocessing.memory import training_memory_gb
from msam_nn.preprocessing.planners import MSAMPlanner

BEGIN, END = "<!-- table: python benchmarks/planning.py -->\n", "<!-- end of table -->\n"


@dataclass(frozen=True)
class TypicalDataset:
    """Shapes in voxels and spacing in mm as stored, ``(z, y, x)``; ``fraction`` is the rarest class's share."""

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    n_cases: int
    labels: int
    fraction: float
    channels: int = 1
    regions: bool = False
    slice_mm: tuple[float, ...] = ()
    """Slice thicknesses that take turns, over the same extent."""

    def fingerprint(self) -> dict:
        slices = [(self.slice_mm or self.spacing[:1])[i % max(1, len(self.slice_mm))] for i in range(self.n_cases)]
        extent = self.shape[0] * self.spacing[0]
        statistics = {"mean": 0.0, "std": 1.0, "median": 0.0, "min": -1.0, "max": 1.0}
        statistics |= {"percentile_00_5": -1.0, "percentile_99_5": 1.0}
        return {
            "spacings": [[s, *self.spacing[1:]] for s in slices],
            "shapes_after_crop": [[round(extent / s), *self.shape[1:]] for s in slices],
            "foreground_intensity_properties_per_channel": {str(i): statistics for i in range(self.channels)},
            "median_relative_size_after_cropping": 1.0,
        }

    def dataset_json(self) -> dict:
        labels = {"background": 0}
        for i in range(1, self.labels + 1):
            labels[f"class {i}"] = list(range(i, self.labels + 1)) if self.regions else i
        entries = {
            "channel_names": {str(i): "MR" for i in range(self.channels)},
            "labels": labels,
            "numTraining": self.n_cases,
            "file_ending": ".nii.gz",
            "dataset": {f"{i:03d}": {"images": ["none.nii.gz"], "label": "none.nii.gz"} for i in range(self.n_cases)},
        }
        return {**entries, "regions_class_order": list(range(1, self.labels + 1))} if self.regions else entries


TYPICAL = (
    TypicalDataset("hippocampus MR", (36, 50, 35), (1, 1, 1), 260, 2, 0.024),
    TypicalDataset("brain MR, 4 channels", (155, 240, 240), (1, 1, 1), 40, 3, 3e-3, channels=4, regions=True),
    TypicalDataset("abdominal CT", (130, 512, 512), (2.5, 0.8, 0.8), 30, 13, 7e-5, slice_mm=(0.8, 2.5, 3, 5)),
    TypicalDataset("cardiac MR", (10, 256, 216), (10, 1.5, 1.5), 40, 3, 0.01),
    TypicalDataset("lung nodules CT", (300, 512, 512), (1.25, 0.7, 0.7), 40, 1, 6e-6),
    TypicalDataset("whole-body PET/CT", (600, 400, 400), (3, 2, 2), 40, 1, 1e-4, channels=2),
    TypicalDataset("whole-body PET/CT", (600, 400, 400), (3, 2, 2), 2, 1, 1e-4, channels=2),
)
MEMORY_GB = (2, 8)


@cache
def plan(dataset: TypicalDataset, memory_gb: float) -> dict[str, Any]:
    """MSAMPlanner's plans, made in a temporary folder."""
    name = "Dataset900_Typical"
    with tempfile.TemporaryDirectory() as root:
        folders = {variable: str(Path(root) / variable) for variable in ("nnUNet_raw", "nnUNet_preprocessed")}
        raw, preprocessed = (Path(folder) / name for folder in folders.values())
        preprocessed.mkdir(parents=True)
        raw.mkdir(parents=True)
        (raw / "dataset.json").write_text(json.dumps(dataset.dataset_json()), encoding="utf-8")
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(dataset.fingerprint()), encoding="utf-8")
        with (
            mock.patch.dict(os.environ, folders),
            mock.patch.object(MSAMPlanner, "determine_reader_writer", lambda self: SimpleITKIO),
            mock.patch.object(MSAMPlanner, "foreground_fraction", dataset.fraction),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            return MSAMPlanner(name, memory_gb).plan_experiment()


def network_config(dataset: TypicalDataset, configuration: dict) -> MSAMConfig:
    """The network that a planned configuration describes."""
    n_outputs = dataset.labels + (not dataset.regions)
    return MSAMConfig.from_arch_kwargs(dataset.channels, n_outputs, configuration["architecture"]["arch_kwargs"])


def table() -> str:
    """One row a data set, memory target and configuration."""
    rows = [
        "| data set | cases | GB | configuration | image | patch | token | tokens | model "
        "| stages | batch | foreground | estimate |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for dataset in TYPICAL:
        for memory_gb in MEMORY_GB:
            plans = plan(dataset, memory_gb)
            for name in ("3d_fullres", "3d_lowres"):
                if name in plans["configurations"]:
                    cells = _cells(dataset, plans["configurations"][name])
                    rows.append(f"| {dataset.name} | {dataset.n_cases} | {memory_gb} | {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cells(dataset: TypicalDataset, configuration: dict) -> list[str]:
    config = network_config(dataset, configuration)
    spacing = "x".join(f"{s:.2g}" for s in configuration["spacing"])
    model = next(n.split()[0] for n in configuration["planning_notes"] if " model: " in n)
    return [
        f"{times(configuration['median_image_size_in_voxels'])} at {spacing} mm",
        times(config.patch_size),
        times(config.token_size),
        str(config.n_tokens),
        model,
        f"{config.n_auto_stages}{', recomputed' if config.checkpoint_stages else ''}",
        str(configuration["batch_size"]),
        f"{configuration['oversample_foreground_percent']:.0%}",
        f"{training_memory_gb(config, configuration['batch_size']):.1f} GB",
    ]


def times(sizes) -> str:
    return "x".join(str(int(i)) for i in np.rint(sizes))


def insert(page: str) -> str:
    """``page`` with a new table between its two marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page whose table is replaced")
    args = parser.parse_args()
    if args.write:
        page = args.write.read_text(encoding="utf-8")
        args.write.write_text(insert(page), encoding="utf-8")
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
