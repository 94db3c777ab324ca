"""Lung tumours in CT: Task06_Lung of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataset_conversion import command
from dataset_conversion.msd import msd_task

TASKS = {"tumour": msd_task(6, "Lung", "lung", {"background": 0, "cancer": 1})}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return command.main(__doc__, TASKS, arguments)


if __name__ == "__main__":
    sys.exit(main())
