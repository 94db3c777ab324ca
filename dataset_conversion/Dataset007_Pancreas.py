"""Pancreas and its tumours in CT: Task07_Pancreas of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataset_conversion import command
from dataset_conversion.msd import msd_task, tumour_only

ALL = msd_task(7, "Pancreas", "pancreas", {"background": 0, "pancreas": 1, "cancer": 2})
TASKS = {"all": ALL, "tumour": tumour_only(ALL, "Dataset507_PancreasTumour", tumour=2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return command.main(__doc__, TASKS, arguments)


if __name__ == "__main__":
    sys.exit(main())
