"""Pancreas and its tumours in CT: Task07_Pancreas of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from functools import partial

from dataset_conversion import command
from dataset_conversion.msd import msd_task, msd_tumour_only

ALL = msd_task(7, "Pancreas", "pancreas", {"background": 0, "pancreas": 1, "cancer": 2})
TASKS = {"all": ALL, "tumour": msd_tumour_only(ALL, "Dataset507_PancreasTumour", tumour=2)}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
