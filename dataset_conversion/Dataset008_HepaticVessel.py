"""Vessels and tumours of the liver in CT: Task08_HepaticVessel of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dataset_conversion import command
from dataset_conversion.msd import msd_task, tumour_only

ALL = msd_task(8, "HepaticVessel", "hepaticvessel", {"background": 0, "Vessel": 1, "Tumour": 2})
TASKS = {"all": ALL, "tumour": tumour_only(ALL, "Dataset508_HepaticVesselTumour", tumour=2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return command.main(__doc__, TASKS, arguments)


if __name__ == "__main__":
    sys.exit(main())
