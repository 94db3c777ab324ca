"""Abdominal organs: AMOS22 as released after the challenge. Task 1 is CT, task 2 CT and MR; validation cases train."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from dataset_conversion import command
from dataset_conversion.description import Dataset, same_values

ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gall bladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "postcava",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
    "duodenum",
    "bladder",
    "prostate/uterus",
)
LABELS = {"background": 0} | {organ: i for i, organ in enumerate(ORGANS, start=1)}


def convert(source: Path, target: Path, num_workers: int, *, task: int) -> None:
    """Call nnU-Net's converter of the task with a ``dataset.json`` that lists the sound cases alone."""
    if task == 1:
        from nnunetv2.dataset_conversion.Dataset218_Amos2022_task1 import convert_amos_task1 as convert_amos
    else:
        from nnunetv2.dataset_conversion.Dataset219_Amos2022_task2 import convert_amos_task2 as convert_amos

    parts = {"training": "imagesTr", "validation": "imagesVa", "test": "imagesTs"}
    listed = {part: [{"image": f.name} for f in sorted(source.glob(f"{d}/*"))] for part, d in parts.items()}
    published = {"labels": {value: organ for organ, value in LABELS.items()}, **listed}
    (source / "dataset.json").write_text(json.dumps(published), encoding="utf-8")
    convert_amos(str(source))


def amos(name: str, cases: str, channel: str, task: int) -> Dataset:
    """A task of AMOS22; ``cases`` is the pattern of its case names."""
    return Dataset(
        name=name,
        layout="imagesTr/amos_0001.nii.gz, labelsTr/amos_0001.nii.gz, imagesVa/, labelsVa/, imagesTs/",
        images=(rf"/images(?:Tr|Va)/({cases})\.nii(?:\.gz)?$",),
        mask=rf"/labels(?:Tr|Va)/({cases})\.nii(?:\.gz)?$",
        test_images=(rf"/imagesTs/({cases})\.nii(?:\.gz)?$",),
        channels=(channel,),
        labels=LABELS,
        values=same_values(LABELS),
        licence="CC BY 4.0, see https://zenodo.org/records/7262581",
        reference="Ji et al., AMOS, 2022, arXiv:2206.08023; https://zenodo.org/records/7262581",
        reader="NibabelIOWithReorient",
        converter=partial(convert, task=task),
    )


TASKS = {
    "1": amos("Dataset218_AMOS22", r"amos_0(?:[0-4]\d\d|500)", "CT", 1),
    "2": amos("Dataset219_AMOS22CTMR", r"amos_\d{4}", "either_CT_or_MR", 2),
}
main = partial(command.main, __doc__, TASKS)

if __name__ == "__main__":
    sys.exit(main())
