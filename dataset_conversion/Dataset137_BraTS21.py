"""Gliomas in four MR sequences: BraTS 2021, as the regions whole tumour, tumour core and enhancing tumour."""

from __future__ import annotations

import sys
from functools import partial

from nnunetv2.dataset_conversion.Dataset137_BraTS21 import copy_BraTS_segmentation_and_convert_labels_to_nnUNet

from dataset_conversion import command
from dataset_conversion.description import Dataset

CASE = r"/(BraTS2021_\d+)/\1_"
DATASET = Dataset(
    name="Dataset137_BraTS21",
    layout="BraTS2021_00000/BraTS2021_00000_t1.nii.gz, _t1ce, _t2, _flair and _seg",
    images=tuple(rf"{CASE}{sequence}\.nii(?:\.gz)?$" for sequence in ("t1", "t1ce", "t2", "flair")),
    mask=rf"{CASE}seg\.nii(?:\.gz)?$",
    channels=("T1", "T1ce", "T2", "Flair"),
    labels={"background": 0, "whole tumor": (1, 2, 3), "tumor core": (2, 3), "enhancing tumor": (3,)},
    values={0: 0, 2: 1, 1: 2, 4: 3},
    regions_class_order=(1, 2, 3),
    licence="see https://www.synapse.org/#!Synapse:syn25829067/wiki/610863",
    reference="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 Benchmark, 2021, arXiv:2107.02314; synapse:syn25829067",
    write_mask=copy_BraTS_segmentation_and_convert_labels_to_nnUNet,
)
TASKS = {"regions": DATASET}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
