"""Lung tumours in CT: Task06_Lung of the Medical Segmentation Decathlon."""

from __future__ import annotations

import sys
from functools import partial

from dataset_conversion import command
from dataset_conversion.msd import msd_task

TASKS = {"tumour": msd_task(6, "Lung", "lung", {"background": 0, "cancer": 1})}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
