"""Abdominal organs in CT: Synapse's BTCV ("Beyond the Cranial Vault"), all 13 organs or the usual 8.

The 8 organs come with the split of TransUNet (arXiv:2102.04306) as the only fold: 18 cases train, 12 are scored; the 13
organs with --split transunet.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

from dataset_conversion import command
from dataset_conversion.description import Dataset, one_fold, same_values

ORGANS = {
    "spleen": 1,
    "right kidney": 2,
    "left kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior vena cava": 9,
    "portal vein and splenic vein": 10,
    "pancreas": 11,
    "right adrenal gland": 12,
    "left adrenal gland": 13,
}
USUAL_ORGANS = ("aorta", "gallbladder", "spleen", "left kidney", "right kidney", "liver", "pancreas", "stomach")
PUBLISHED = {f"img{n:04d}" for n in (*range(1, 11), *range(21, 41))}
SCORED = {f"img{n:04d}" for n in (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)}

usual_split = partial(one_fold, published=PUBLISHED, scored=SCORED)
"""One fold: TransUNet's 12 test cases are scored, the others train."""

LABELS = {"background": 0} | ORGANS
ALL = Dataset(
    name="Dataset017_BTCV",
    layout="RawData/Training/img/img0001.nii.gz, RawData/Training/label/label0001.nii.gz, RawData/Testing/img/...",
    images=(r"/Training/img/img(\d{4})\.nii(?:\.gz)?$",),
    mask=r"/Training/label/label(\d{4})\.nii(?:\.gz)?$",
    test_images=(r"/Testing/img/img(\d{4})\.nii(?:\.gz)?$",),
    case_name="img{}",
    channels=("CT",),
    labels=LABELS,
    values=same_values(LABELS),
    licence="the terms accepted at registration with Synapse, see https://doi.org/10.7303/syn3193805",
    paper_splits={"transunet": usual_split},
    reference="Landman et al., MICCAI 2015 Multi-Atlas Labeling Beyond the Cranial Vault, doi:10.7303/syn3193805",
)
USUAL = replace(
    ALL,
    name="Dataset517_BTCV8",
    labels={"background": 0} | {organ: i for i, organ in enumerate(USUAL_ORGANS, start=1)},
    values={0: 0} | {v: USUAL_ORGANS.index(o) + 1 if o in USUAL_ORGANS else 0 for o, v in ORGANS.items()},
    splits=usual_split,
)
TASKS = {"13organs": ALL, "8organs": USUAL}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
