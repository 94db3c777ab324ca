"""Kidneys and their tumours in CT: KiTS19. Cases 210 to 299, which have no masks, become test cases."""

from __future__ import annotations

import sys
from functools import partial

from dataset_conversion import command
from dataset_conversion.description import Dataset, same_values, tumour_only

LABELS = {"background": 0, "kidney": 1, "tumour": 2}
ALL = Dataset(
    name="Dataset064_KiTS19",
    layout="data/case_00000/imaging.nii.gz and segmentation.nii.gz",
    images=(r"/(case_00(?:[01]\d\d|20\d))/imaging\.nii(?:\.gz)?$",),
    mask=r"/(case_00(?:[01]\d\d|20\d))/segmentation\.nii(?:\.gz)?$",
    test_images=(r"/(case_002[1-9]\d)/imaging\.nii(?:\.gz)?$",),
    channels=("CT",),
    labels=LABELS,
    values=same_values(LABELS),
    licence="CC BY-NC-SA 4.0",
    reference="Heller et al., The KiTS19 Challenge Data, 2019, arXiv:1904.00445; https://github.com/neheller/kits19",
    reader="NibabelIOWithReorient",
)
TASKS = {"all": ALL, "tumour": tumour_only(ALL, "Dataset564_KiTS19Tumour", tumour=2)}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
