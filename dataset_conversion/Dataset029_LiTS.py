"""Liver and its tumours in CT: LiTS.

Headers of some published masks are wrong, while their voxels fit the image; they get the image's geometry.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from dataset_conversion import command
from dataset_conversion.description import Dataset, same_values

LABELS = {"background": 0, "liver": 1, "tumour": 2}
ALL = Dataset(
    name="Dataset029_LiTS",
    layout="volume-0.nii and segmentation-0.nii in 'Training Batch 1' and '2', test-volume-0.nii",
    images=(r"/volume-(\d+)\.nii(?:\.gz)?$",),
    mask=r"/segmentation-(\d+)\.nii(?:\.gz)?$",
    test_images=(r"/test-volume-(\d+)\.nii(?:\.gz)?$",),
    case_name="lits_{:0>3}",
    channels=("CT",),
    labels=LABELS,
    values=same_values(LABELS),
    licence="see the terms of the challenge, https://competitions.codalab.org/competitions/17094",
    reference="Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), 2023, doi:10.1016/j.media.2022.102680",
    copy_geometry=True,
)
TUMOUR = replace(
    ALL,
    name="Dataset529_LiTSTumour",
    labels={"background": 0, "tumour": 1},
    values={0: 0, 1: 0, 2: 1},
)
TASKS = {"all": ALL, "tumour": TUMOUR}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return command.main(__doc__, TASKS, arguments)


if __name__ == "__main__":
    sys.exit(main())
