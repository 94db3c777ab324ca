"""Heart chambers in cine MR: ACDC, two frames (end of diastole and systole) of each patient."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from dataset_conversion import command
from dataset_conversion.description import Dataset, one_fold, same_values


def convert(source: Path, target: Path, num_workers: int) -> None:
    """Copy with nnU-Net's own function; its entry point does not run in nnU-Net 2.8."""
    from nnunetv2.dataset_conversion.Dataset027_ACDC import copy_files

    (source / "testing").mkdir(exist_ok=True)
    folders = [target / DATASET.name / part for part in ("imagesTr", "labelsTr", "imagesTs")]
    for folder in folders:
        folder.mkdir(parents=True)
    copy_files(source, *folders)


def patient_splits(masks: Path) -> list[dict[str, list[str]]]:
    """nnU-Net's five folds for ACDC, in which the frames of a patient stay together."""
    from nnunetv2.dataset_conversion.Dataset027_ACDC import create_ACDC_split

    return create_ACDC_split(str(masks))


NNFORMER_SCORED = (89, 90, 91, 93, 94, 96, 97, 98, 99, 100)
NNFORMER_TESTED = (2, 3, 8, 9, 12, 14, 17, 24, 42, 48, 49, 53, 55, 64, 67, 79, 81, 88, 92, 95)
"""Patients of the published training data; the other 70 train (code of nnFormer, arXiv 2109.03201)."""


def nnformer_split(masks: Path) -> list[dict[str, list[str]]]:
    """One fold: 70 patients train, 10 are scored, 20 are kept for the test."""
    published, scored, tested = (
        [f"patient{n:03d}" for n in part] for part in (range(1, 101), NNFORMER_SCORED, NNFORMER_TESTED)
    )
    return one_fold(masks, published, scored, left_out=tested)


LABELS = {"background": 0, "RV": 1, "MLV": 2, "LVC": 3}
DATASET = Dataset(
    name="Dataset027_ACDC",
    layout="training/patient001/patient001_frame01.nii.gz and patient001_frame01_gt.nii.gz, testing/...",
    images=(r"/training/patient\d+/(patient\d+_frame\d+)\.nii(?:\.gz)?$",),
    mask=r"/training/patient\d+/(patient\d+_frame\d+)_gt\.nii(?:\.gz)?$",
    test_images=(r"/testing/patient\d+/(patient\d+_frame\d+)\.nii(?:\.gz)?$",),
    channels=("cineMRI",),
    labels=LABELS,
    values=same_values(LABELS),
    licence="CC BY-NC-SA 4.0; the paper must be cited",
    reference="Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and "
    "Diagnosis, 2018, doi:10.1109/TMI.2018.2837502; https://www.creatis.insa-lyon.fr/Challenge/acdc",
    converter=convert,
    splits=patient_splits,
    paper_splits={"nnformer": nnformer_split},
)
TASKS = {"all": DATASET}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
