"""Vessels and tumours of the liver in CT: Task08_HepaticVessel of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from functools import partial

from dataset_conversion import command
from dataset_conversion.msd import msd_task, msd_tumour_only

ALL = msd_task(8, "HepaticVessel", "hepaticvessel", {"background": 0, "Vessel": 1, "Tumour": 2})
TASKS = {"all": ALL, "tumour": msd_tumour_only(ALL, "Dataset508_HepaticVesselTumour", tumour=2)}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
