"""What is wrong with a volume, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion.checks import BrokenCaseError, check_same_grid, read_volume, stored_labels

FILE = Path("file.nrrd")


def volume(shape=(4, 5, 6), spacing=(1.0, 2.0, 3.0), origin=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    image = sitk.GetImageFromArray(np.zeros(shape, np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


@pytest.mark.parametrize(
    "other, message",
    [
        (dict(), None),
        (dict(origin=(0.09, 0, 0)), None),  # up to a tenth of 1 mm
        (dict(origin=(0.11, 0, 0)), "up to 0.11 mm off"),
        (dict(spacing=(1.0, 2.0, 3.1)), r"spacing \[1.0, 2.0, 3.1\]"),
        (dict(shape=(6, 5, 4)), r"\(4, 5, 6\) voxels"),
        # the x axis runs the other way: the far corner (5 mm) lies 10 mm from where it should
        (dict(direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1)), "up to 10 mm off"),
    ],
)
def test_grid(other, message):
    if message is None:
        check_same_grid(volume(**other), FILE, volume())
    else:
        with pytest.raises(BrokenCaseError, match=message):
            check_same_grid(volume(**other), FILE, volume())


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, ending, value):
    voxels = np.zeros((4, 5, 6), np.float32)
    voxels[1, 2, 3] = value
    file = tmp_path / f"image{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(file))
    with pytest.raises(BrokenCaseError, match="NaN or infinite"):
        read_volume(file)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_that_ends_early(tmp_path, ending, dtype):
    voxels = np.random.default_rng(0).integers(0, 1000, (9, 10, 11)).astype(dtype)
    file = tmp_path / f"image{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(file))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 3])
    with pytest.raises(BrokenCaseError, match="copy or export it again$"):
        read_volume(file)


def test_colours_are_no_image(tmp_path):
    file = tmp_path / "image.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(file))
    with pytest.raises(BrokenCaseError, match="3 values per voxel"):
        read_volume(file)


def test_labels_are_replaced_by_value():
    mask = sitk.GetImageFromArray(np.array([[[0, 1, 2, 4]]], np.float64))
    stored = stored_labels(mask, FILE, {0: 0, 2: 1, 1: 2, 4: 3})
    assert stored.dtype == np.uint8 and stored.tolist() == [[[0, 2, 1, 3]]]


@pytest.mark.parametrize(
    "values, message", [([0, 0.5], "non-integer"), ([0, 1, 3, -1], r"not declared: \[-1, 3\]"), ([0, 300], "300")]
)
def test_labels_that_are_broken(values, message):
    mask = sitk.GetImageFromArray(np.array([[values]], np.float64))
    with pytest.raises(BrokenCaseError, match=message):
        stored_labels(mask, FILE, {0: 0, 1: 1})
