import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.inspection.raw_dataset import open_raw_dataset

IMAGE, LABEL = np.zeros((4, 5, 6)), np.zeros((4, 5, 6), np.uint8)


def test_classes_channels_and_cases(raw_folder):
    raw = raw_folder(channels=("CT", "PET"))
    for case in ("b", "a"):
        raw.add(case, [IMAGE, IMAGE], LABEL)
    dataset = open_raw_dataset(raw.name, raw.dataset_json)
    assert dataset.classes == {"organ": (1,), "tumour": (2,)}
    assert dataset.channel_names == ("CT", "PET")
    assert list(dataset.cases) == ["a", "b"] and len(dataset.cases["a"].images) == 2
    assert dataset.label_values == {0, 1, 2} and dataset.ignore_label is None
    assert dataset.declared_cases == 1


def test_regions_and_ignore_label(raw_folder):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    raw = raw_folder(labels, regions_class_order=[1, 2])
    raw.add("a", [IMAGE], LABEL)
    dataset = open_raw_dataset(raw.name, raw.dataset_json)
    assert dataset.classes == {"whole": (1, 2), "core": (2,)}
    assert dataset.ignore_label == 3 and dataset.label_values == {0, 1, 2, 3}


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
def test_2d_images_are_refused(raw_folder, ending):
    raw = raw_folder(file_ending=ending)
    for file in ("imagesTr/a_0000", "labelsTr/a"):
        sitk.WriteImage(sitk.GetImageFromArray(LABEL[0]), str(raw.folder / f"{file}{ending}"))
    with pytest.raises(UnsupportedError, match=f"a_0000{ending} is 2D: 2D data sets cannot be checked"):
        open_raw_dataset(raw.name, raw.dataset_json)


def test_wrong_declarations(raw_folder):
    raw = raw_folder()
    with pytest.raises(UserError, match="imagesTr has no images CASE_0000.nii.gz"):
        open_raw_dataset(raw.name, raw.dataset_json)
    with pytest.raises(UserError, match="lacks the entry 'labels'"):
        open_raw_dataset(raw.name, {k: v for k, v in raw.dataset_json.items() if k != "labels"})
    with pytest.raises(UserError, match="nnU-Net refuses: .*ignore label"):
        open_raw_dataset(raw.name, {**raw.dataset_json, "labels": {"background": 0, "a": 2, "ignore": 1}})
