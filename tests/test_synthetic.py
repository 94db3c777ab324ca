"""Phantoms: determinism, labels, geometry on disk, and nothing left behind after a failure."""

import json
from dataclasses import replace

import cc3d
import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UserError
from msam_nn.synthetic import SMALL_LESIONS, PhantomOptions, Tumours, dataset, generate_case, write_dataset

SMALL = PhantomOptions(min_shape=(12, 24, 24), max_shape=(14, 28, 28))


def read(file):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def test_a_case_depends_on_seed_and_index_only():
    first, again = generate_case(SMALL, 3), generate_case(SMALL, 3)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert first[2] == again[2]
    for other in (generate_case(SMALL, 4), generate_case(replace(SMALL, seed=1), 3)):
        assert other[2] != first[2]


def test_options_for_labels_and_channels_leave_the_ct_as_it_is():
    plain, _, _ = generate_case(SMALL, 0)
    rich, _, _ = generate_case(replace(SMALL, channels=2, regions=True, organ_label=True, ignore_label=True), 0)
    np.testing.assert_array_equal(rich[0], plain[0])


def test_default_case_is_ct_like():
    image, segmentation, spacing = generate_case(PhantomOptions(), 0)
    assert image.dtype == np.float32 and segmentation.dtype == np.uint8
    assert image.shape == (1, *segmentation.shape)
    assert all(low <= n <= high for low, n, high in zip((32, 64, 64), segmentation.shape, (40, 72, 72), strict=True))
    assert 2.5 <= spacing[0] <= 5 and 0.8 <= spacing[1] == spacing[2] <= 1.5
    np.testing.assert_array_equal(image, np.rint(image))
    assert image.min() == -1024 and 300 < image.max() < 700
    assert -1010 < np.median(image[0, :, 0, 0]) < -990, "the corners are air"
    assert set(np.unique(segmentation)) == {0, 1}


def test_tumours_are_darker_than_the_organ_around_them_but_no_threshold_finds_them():
    image, segmentation, _ = generate_case(PhantomOptions(organ_label=True), 0)
    tumour, organ = image[0][segmentation == 1], image[0][segmentation == 2]
    assert np.median(organ) - np.median(tumour) > 40
    truth = segmentation == 1
    bands = ((image[0] > low) & (image[0] < high) for low in range(-80, 80, 20) for high in range(low + 20, 120, 20))
    assert max(2 * (band & truth).sum() / (band.sum() + truth.sum()) for band in bands) < 0.6


@pytest.mark.parametrize("empty_every, empty", [(8, [7]), (3, [2, 5]), (0, [])])
def test_every_nth_case_has_no_tumour(empty_every, empty):
    options = replace(SMALL, empty_every=empty_every)
    assert [i for i in range(8) if not generate_case(options, i)[1].any()] == empty


def test_tumours_and_a_physiological_distractor_are_hot_in_the_second_channel():
    image, segmentation, _ = generate_case(PhantomOptions(channels=2, regions=True), 0)
    assert image.shape[0] == 2 and image[1].min() >= 0
    healthy = image[1][(segmentation == 0) & (image[0] > -50)]
    assert np.median(image[1][segmentation == 1]) > 2.5 * np.median(healthy)
    assert healthy.max() > np.median(image[1][segmentation == 1])


def test_region_values_are_nested_and_read_by_nnunet():
    options = replace(PhantomOptions(), regions=True, organ_label=True, ignore_label=True)
    labels = {"background": 0, "whole tumour": (1, 2), "tumour core": 2, "organ": 3, "ignore": 4}
    assert options.labels == labels
    manager = LabelManager(options.labels, options.regions_class_order)
    assert manager.has_regions and manager.foreground_regions == [(1, 2), 2, 3] and manager.ignore_label == 4
    _, regions, _ = generate_case(PhantomOptions(regions=True), 0)
    _, plain, _ = generate_case(PhantomOptions(), 0)
    assert set(np.unique(regions)) == {0, 1, 2}
    np.testing.assert_array_equal(regions > 0, plain == 1)


def test_ignored_slices_are_whole_and_spare_the_largest_tumour_area():
    _, plain, _ = generate_case(PhantomOptions(), 0)
    _, sparse, _ = generate_case(PhantomOptions(ignore_label=True), 0)
    ignored = (sparse == 2).all(axis=(1, 2))
    assert 0.2 < ignored.mean() < 0.8 and not ignored[plain.sum(axis=(1, 2)).argmax()]
    np.testing.assert_array_equal(sparse[~ignored], plain[~ignored])


def test_small_lesions_have_radii_of_two_to_four_voxels():
    volumes = []
    for index in range(6):
        image, segmentation, spacing = generate_case(SMALL_LESIONS, index)
        assert spacing == (1.0, 1.0, 1.0) and image.shape[1:] == segmentation.shape
        sizes = cc3d.statistics(cc3d.connected_components(segmentation))["voxel_counts"][1:]
        assert 1 <= len(sizes) <= 5
        volumes += sizes.tolist()
    balls = [4 / 3 * np.pi * radius**3 for radius in (2, 4)]
    assert 0.5 * balls[0] < min(volumes) and max(volumes) < 1.6 * balls[1], "axes and surface vary"
    assert max(volumes) > 3 * min(volumes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 3},
        {"seed": -1},
        {"min_shape": (4, 24, 24)},
        {"min_shape": (50, 64, 64)},
        {"spacing": 0.0},
        {"tumours": Tumours(radius=(4.0, 2.0))},
    ],
)
def test_impossible_options(wrong):
    with pytest.raises(UserError):
        PhantomOptions(**wrong)


def test_data_set_on_disk_equals_the_cases_and_their_geometry(tmp_path):
    options = replace(SMALL, channels=2, ignore_label=True)
    folder = write_dataset(tmp_path / "raw" / "Dataset900_X", 2, 1, options, progress=False)
    assert sorted(f.name for f in (tmp_path / "raw").iterdir()) == ["Dataset900_X"]
    assert sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.*")) == [
        "dataset.json",
        *(f"imagesTr/phantom_00{i}_000{c}.nii.gz" for i in (0, 1) for c in (0, 1)),
        *(f"imagesTs/phantom_002_000{c}.nii.gz" for c in (0, 1)),
        *(f"labelsTr/phantom_00{i}.nii.gz" for i in (0, 1)),
        "labelsTs/phantom_002.nii.gz",
    ]
    image, segmentation, spacing = generate_case(options, 1)
    files = [str(folder / "imagesTr" / f"phantom_001_000{c}.nii.gz") for c in (0, 1)]
    stored, properties = SimpleITKIO().read_images(files)
    np.testing.assert_array_equal(stored, image)
    np.testing.assert_allclose(properties["spacing"], spacing, atol=1e-6)
    volume = sitk.ReadImage(files[0])
    centre = [(n - 1) / 2 for n in volume.GetSize()]
    np.testing.assert_allclose(volume.TransformContinuousIndexToPhysicalPoint(centre), 0, atol=1e-4)
    np.testing.assert_array_equal(read(folder / "labelsTr" / "phantom_001.nii.gz"), segmentation)
    held_out = generate_case(replace(options, ignore_label=False), 2)[1]
    np.testing.assert_array_equal(read(folder / "labelsTs" / "phantom_002.nii.gz"), held_out)


def test_dataset_json(tmp_path):
    folder = write_dataset(tmp_path / "Dataset900_X", 1, 0, replace(SMALL, channels=2, regions=True), progress=False)
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["channel_names"] == {"0": "CT", "1": "PET"}
    assert declared["labels"] == {"background": 0, "whole tumour": [1, 2], "tumour core": 2}
    assert declared["regions_class_order"] == [1, 2]
    assert declared["numTraining"] == 1 and declared["file_ending"] == ".nii.gz"
    assert declared["licence"] and declared["description"]


def test_refuses_to_overwrite_and_replaces_with_force(tmp_path):
    folder = write_dataset(tmp_path / "D", 2, 0, SMALL, progress=False)
    with pytest.raises(UserError, match="exists already"):
        write_dataset(folder, 1, 0, SMALL, progress=False)
    assert len(list((folder / "labelsTr").iterdir())) == 2
    write_dataset(folder, 1, 0, SMALL, force=True, progress=False)
    assert len(list((folder / "labelsTr").iterdir())) == 1
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch, existing):
    folder = tmp_path / "D"
    if existing:
        write_dataset(folder, 2, 0, SMALL, progress=False)

    def fail_at_second(options, index):
        if index == 1:
            raise OSError("disk full")
        return generate_case(options, index)

    monkeypatch.setattr(dataset, "generate_case", fail_at_second)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(folder, 3, 0, SMALL, force=True, progress=False)
    assert list(tmp_path.iterdir()) == ([folder] if existing else [])
    assert not existing or len(list((folder / "labelsTr").iterdir())) == 2


@pytest.mark.parametrize("n_train, n_test", [(0, 1), (1, -1)])
def test_impossible_numbers_of_cases(tmp_path, n_train, n_test):
    with pytest.raises(UserError, match="At least 1 training"):
        write_dataset(tmp_path / "D", n_train, n_test, SMALL)
    assert not list(tmp_path.iterdir())
