"""Where a converted data set goes."""

from __future__ import annotations

import os
from pathlib import Path

from msam_nn.errors import UserError


def target_folder(raw_folder: str | Path | None, name: str) -> Path:
    """The folder of data set ``name`` in ``raw_folder``; None stands for the environment variable ``nnUNet_raw``.

    Raises:
        UserError: without a folder, or if another data set there has the same number.
    """
    raw_folder = raw_folder or os.environ.get("nnUNet_raw")
    if not raw_folder:
        raise UserError("Where to write is unknown: set the environment variable nnUNet_raw, or pass a folder with -o.")
    number = name[len("Dataset") :].split("_")[0]
    taken = [f for f in Path(raw_folder).glob(f"Dataset{number}_*") if f.name != name]
    if taken:
        raise UserError(
            f"{taken[0]} has number {number} already, and nnU-Net needs unique numbers: write elsewhere with -o."
        )
    return Path(raw_folder) / name
