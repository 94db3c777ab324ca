"""nnU-Net's folders with made-up predictions of two methods: regions, an ignore label, and cases that are empty."""

import json

import numpy as np
import SimpleITK as sitk

from msam_nn.nnunet_folders import labelled_cases

DATASET = "Dataset700_Regions"
FIRST, SECOND = "FirstTrainer__nnUNetPlans__3d_fullres", "SecondTrainer__nnUNetPlans__3d_fullres"
SPACING = (3.0, 1.0, 2.0)
SHAPE = (8, 12, 10)
LABELS = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
SPLITS = [
    {"train": ["c", "d", "e", "f"], "val": ["a", "b"]},
    {"train": ["a", "b", "e", "f"], "val": ["c", "d"]},
]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(path))


def truth_of(case):
    """A box with a core and an ignored corner; ``b`` has no core, ``d`` is empty."""
    array = np.zeros(SHAPE, np.uint8)
    start = "abcdef".index(case) % 3
    if case != "d":
        array[1 + start : 5 + start, 2:9, 3:8] = 1
        array[2 + start : 4 + start, 4:7, 4:6] = 2 if case != "b" else 1
    array[0, :6, :6] = 3
    return array


def prediction_of(case, method):
    """The truth shifted by one voxel, with what is ignored predicted as core: some of it outside the ignored corner.

    ``SECOND`` predicts nothing in ``a``; in ``d`` only ignored voxels are predicted.
    """
    array = np.roll(truth_of(case), case != "d", axis=2 if method == FIRST else 1)
    array[array == 3] = 2
    return array * (case != "a" or method == FIRST)


def make_results(root, monkeypatch):
    """Write everything below ``root`` and point nnU-Net's variables there."""
    for name in ("raw", "preprocessed", "results"):
        (root / name / DATASET).mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(root / name))
    labelled_cases.cache_clear()
    preprocessed = root / "preprocessed" / DATASET
    dataset_json = json.dumps({
        "labels": LABELS, "regions_class_order": [1, 2], "file_ending": ".nii.gz", "channel_names": {"0": "CT"},
    })  # fmt: skip
    (preprocessed / "dataset.json").write_text(dataset_json)
    (preprocessed / "splits_final.json").write_text(json.dumps(SPLITS))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps({"shapes_after_crop": [SHAPE] * 6}))
    for case in "abcdef":
        write(preprocessed / "gt_segmentations" / f"{case}.nii.gz", truth_of(case))
    for method in (FIRST, SECOND):
        folder = root / "results" / DATASET / method
        for fold, split in enumerate(SPLITS):
            for case in split["val"]:
                write(folder / f"fold_{fold}" / "validation" / f"{case}.nii.gz", prediction_of(case, method))
        (folder / "dataset.json").write_text(dataset_json)
        (folder / "plans.json").write_text(json.dumps({"dataset_name": DATASET}))
    return root
