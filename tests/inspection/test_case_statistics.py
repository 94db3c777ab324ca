import numpy as np
import pytest

from msam_nn.inspection.case_statistics import (
    SAMPLES,
    coarse_stride,
    equally_coarse,
    find_lesions,
    measure_cases,
    measure_or_explain,
)
from msam_nn.inspection.raw_dataset import open_raw_dataset

SHAPE = (6, 30, 40)


def image(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE)


def label(*boxes):
    """Boxes of (value, z, y, x), each of two by two by two voxels."""
    array = np.zeros(SHAPE, np.uint8)
    for value, z, y, x in boxes:
        array[z : z + 2, y : y + 2, x : x + 2] = value
    return array


def measure(raw, case):
    return measure_or_explain(open_raw_dataset(raw.name, raw.dataset_json), case)


def test_volumes_and_components_with_anisotropic_spacing():
    mask = np.zeros((8, 8, 8), bool)
    mask[0:2, 0, 0:3] = True  # 6 voxels
    mask[5, 5, 5] = mask[6, 6, 6] = True  # neighbours by a corner: one component
    lesions = find_lesions(mask, (3.0, 2.0, 0.5))
    assert sorted(lesions.volumes_mm3) == [2 * 3, 6 * 3]
    assert sorted(map(tuple, lesions.extents_mm)) == [(6, 2, 1.5), (6, 4, 1)]


def test_nothing_has_no_lesions():
    lesions = find_lesions(np.zeros((4, 4, 4), bool), (1, 1, 1))
    assert len(lesions.volumes_mm3) == 0 and lesions.extents_mm.shape == (0, 3)


def test_case_by_hand(raw_folder):
    raw = raw_folder()
    raw.add("a", [image()], label((1, 0, 0, 0), (2, 3, 10, 10), (2, 3, 20, 20)))
    case = measure(raw, "a")
    assert (case.shape, case.spacing, case.channels) == (SHAPE, (3.0, 2.0, 0.5), 1)
    assert case.label_values == (0, 1, 2) and case.differences == ()
    assert case.lesions["organ"].volumes_mm3.tolist() == [24]
    assert case.lesions["tumour"].volumes_mm3.tolist() == [24, 24]
    assert case.foreground_mm3 == 72
    assert case.intensities.shape == (1, SAMPLES)
    inside = image()[3:5, 10:12, 10:12].astype(np.float32)
    assert case.class_intensities["tumour"].shape == (1, 16)
    assert np.isin(inside, case.class_intensities["tumour"]).all()


def test_regions_overlap_and_the_ignore_label_is_no_foreground(raw_folder):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    raw = raw_folder(labels, regions_class_order=[1, 2])
    raw.add("a", [image()], label((1, 0, 0, 0), (2, 2, 0, 0), (3, 0, 20, 20)))
    case = measure(raw, "a")
    assert case.lesions["whole"].volumes_mm3.tolist() == [48]
    assert case.lesions["core"].volumes_mm3.tolist() == [24]
    assert case.foreground_mm3 == 48


def test_equal_voxels_have_equal_hashes_per_channel(raw_folder):
    raw = raw_folder(channels=("CT", "PET"))
    raw.add("a", [image(0), image(1)], label())
    raw.add("b", [image(2), image(1)], label())
    raw.add("c", [image(0).transpose(0, 2, 1).reshape(SHAPE), 0 * image()], label())
    a, b, c = (measure(raw, name) for name in "abc")
    assert a.hashes[1] == b.hashes[1] and a.hashes[0] != b.hashes[0] != c.hashes[0] != a.hashes[0]
    assert c.hashes[1] is None


def test_geometry_that_differs(raw_folder):
    raw = raw_folder()
    raw.add("moved", [image()], label(), origin=(0, 5, 0))
    raw.add("scaled", [image()], label(), spacing=(3, 2, 0.6))
    raw.add("cut", [image()], label((1, 0, 0, 0))[:-1])
    raw.add("rounded", [image()], label(), origin=(0, 1e-5, 0))
    assert measure(raw, "moved").differences == ("origin",)
    assert measure(raw, "scaled").differences == ("spacing",)
    assert measure(raw, "rounded").differences == ()
    cut = measure(raw, "cut")
    assert cut.differences == ("shape",) and cut.class_intensities == {}


def test_voxels_that_are_no_numbers(raw_folder):
    raw = raw_folder()
    bad, bad_label = image(), label((1, 0, 0, 0)).astype(np.float32)
    bad[0, 0, :2] = np.nan, np.inf
    bad_label[5, 5, 5], bad_label[4, 4, 4] = np.nan, 1.5
    raw.add("a", [bad], bad_label)
    case = measure(raw, "a")
    assert (case.nan_voxels, case.label_nan_voxels) == (2, 1)
    assert case.label_values == (0, 1, 1.5)
    assert np.isfinite(case.intensities).all()  # SimpleITK hides them


def test_unreadable_cases_say_why(raw_folder):
    raw = raw_folder(channels=("CT", "PET"))
    raw.add("a", [image(), image()], None)
    raw.add("b", [image(), image()[:-1]], label())
    assert measure(raw, "a").reason.startswith("there is no label") and "a.nii.gz" in measure(raw, "a").reason
    assert "same shape" in measure(raw, "b").reason


def test_processes_give_the_same_in_the_same_order(raw_folder, capfd):
    raw = raw_folder()
    for i, name in enumerate("abc"):
        raw.add(name, [image(i)], label((1, 0, i, 0)))
    raw.add("d", [image()], None)
    dataset = open_raw_dataset(raw.name, raw.dataset_json)
    (serial, lost), (parallel, also_lost) = measure_cases(dataset, 1), measure_cases(dataset, 2)
    assert [c.name for c in serial] == [c.name for c in parallel] == ["a", "b", "c"]
    assert [c.name for c in lost] == [c.name for c in also_lost] == ["d"]
    for one, other in zip(serial, parallel, strict=True):
        assert one.hashes == other.hashes
        np.testing.assert_array_equal(one.intensities, other.intensities)


def test_masks_come_to_one_stride(measured):
    assert [coarse_stride(n) for n in (1, 64, 65, 128, 129)] == [1, 1, 2, 2, 4]
    fine = measured("a", coarse_foreground=np.ones((40, 20, 20), bool))
    coarse = measured("b", coarse_foreground=np.ones((60, 20, 20), bool), stride=(4, 1, 1))
    assert [mask.shape for mask in equally_coarse([fine, coarse])] == [(10, 20, 20), (60, 20, 20)]


def test_every_other_voxel_of_a_long_axis_is_kept(raw_folder):
    raw = raw_folder()
    truth = np.zeros((4, 4, 100), np.uint8)
    truth[:, :, 10:20] = 1
    raw.add("a", [np.random.default_rng(0).normal(size=truth.shape)], truth)
    case = measure(raw, "a")
    assert case.stride == (1, 1, 2) and case.coarse_foreground.shape == (4, 4, 50)
    assert case.coarse_foreground.sum() == 4 * 4 * 5


@pytest.mark.parametrize("name", ["a", "b"])
def test_draws_depend_on_nothing_but_the_case(raw_folder, name):
    raw = raw_folder()
    raw.add(name, [image()], label((1, 0, 0, 0)))
    np.testing.assert_array_equal(measure(raw, name).intensities, measure(raw, name).intensities)
