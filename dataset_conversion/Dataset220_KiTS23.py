"""Kidneys, their tumours and cysts in CT: KiTS23, as the regions kidney with masses, masses, and tumour."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from dataset_conversion import command
from dataset_conversion.description import Dataset


def convert(source: Path, target: Path, num_workers: int) -> None:
    """Call nnU-Net's converter."""
    from nnunetv2.dataset_conversion.Dataset220_KiTS2023 import convert_kits2023

    convert_kits2023(str(source))


DATASET = Dataset(
    name="Dataset220_KiTS23",
    layout="dataset/case_00000/imaging.nii.gz and segmentation.nii.gz",
    images=(r"/(case_\d{5})/imaging\.nii(?:\.gz)?$",),
    mask=r"/(case_\d{5})/segmentation\.nii(?:\.gz)?$",
    channels=("CT",),
    labels={"background": 0, "kidney": (1, 2, 3), "masses": (2, 3), "tumor": 2},
    values={0: 0, 1: 1, 2: 2, 3: 3},
    regions_class_order=(1, 3, 2),
    licence="CC BY-NC-SA 4.0",
    reference="Heller et al., The KiTS21 Challenge, 2023, arXiv:2307.01984; https://github.com/neheller/kits23",
    reader="NibabelIOWithReorient",
    converter=convert,
)
TASKS = {"regions": DATASET}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
