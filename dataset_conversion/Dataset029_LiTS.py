"""Liver and its tumours in CT: LiTS.

Headers of some published masks are wrong, while their voxels fit the image; they get the image's geometry.
"""

from __future__ import annotations

import sys
from functools import partial

from dataset_conversion import command
from dataset_conversion.description import Dataset, same_values, tumour_only

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
TASKS = {"all": ALL, "tumour": tumour_only(ALL, "Dataset529_LiTSTumour", tumour=2)}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
