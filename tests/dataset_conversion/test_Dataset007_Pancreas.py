"""MSD Pancreas in its published tree: all labels, and the tumour alone."""

import json

import SimpleITK as sitk

from dataset_conversion.Dataset007_Pancreas import main


def test_published_tree(tree, check):
    pancreas = tree("imagesTr/pancreas_{:03d}", "labelsTr/pancreas_{:03d}", (0, 1, 2))
    folder = check(main, pancreas, "pancreas_{:03d}", "Dataset007_Pancreas")
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"] == {
        "background": 0,
        "pancreas": 1,
        "cancer": 2,
    }


def test_tumour_alone(tree, check):
    pancreas = tree("imagesTr/pancreas_{:03d}", "labelsTr/pancreas_{:03d}", (0, 1, 2))
    folder = check(main, pancreas, "pancreas_{:03d}", "Dataset507_PancreasTumour", "--task", "tumour")
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"] == {"background": 0, "tumour": 1}
    published = sitk.GetArrayFromImage(sitk.ReadImage(str(pancreas.root / "labelsTr" / "pancreas_001.nii.gz")))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "pancreas_001.nii.gz")))
    assert ((published == 2) == (stored == 1)).all() and set(stored.flat) == {0, 1}
