"""The tasks of the Medical Segmentation Decathlon, written by nnU-Net's own converter."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from nnunetv2.dataset_conversion.convert_MSD_dataset import convert_msd_dataset

from dataset_conversion.description import Dataset, same_values, tumour_only

NAME = r"\.nii(?:\.gz)?$"


def msd_task(number: int, title: str, prefix: str, labels: dict[str, int]) -> Dataset:
    """A CT task with all its labels, in the layout of ``TaskNN_Title``."""
    return Dataset(
        name=f"Dataset{number:03d}_{title}",
        layout=f"Task{number:02d}_{title}/imagesTr/{prefix}_001.nii.gz, labelsTr/{prefix}_001.nii.gz, imagesTs/...",
        images=(rf"/imagesTr/({prefix}_\d+){NAME}",),
        mask=rf"/labelsTr/({prefix}_\d+){NAME}",
        test_images=(rf"/imagesTs/({prefix}_\d+){NAME}",),
        channels=("CT",),
        labels=labels,
        values=same_values(labels),
        licence="CC BY-SA 4.0",
        reference="Antonelli et al., The Medical Segmentation Decathlon, 2022, doi:10.1038/s41467-022-30695-9; "
        "http://medicaldecathlon.com",
        converter=partial(_convert, number=number, title=title, labels=labels),
    )


def msd_tumour_only(task: Dataset, name: str, tumour: int) -> Dataset:
    """The same task with the published value ``tumour`` as its only label."""
    only = tumour_only(task, name, tumour)
    return replace(only, converter=partial(task.converter, labels=only.labels))


def _convert(source: Path, target: Path, num_workers: int, *, number: int, title: str, labels: dict[str, int]) -> None:
    """Call nnU-Net's converter, which wants the published folder name, all three folders and a ``dataset.json``."""
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (source / part).mkdir(exist_ok=True)
    published = {"labels": {v: k for k, v in labels.items()}, "modality": {"0": "CT"}, "training": [], "test": []}
    (source / "dataset.json").write_text(json.dumps(published), encoding="utf-8")
    task = source.rename(source.with_name(f"Task{number:02d}_{title}"))
    convert_msd_dataset(str(task), num_processes=num_workers)
