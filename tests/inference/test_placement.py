"""Boxes and masks in every kind of geometry; the points' way is in test_geometry.py."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.placement import box_to_network, class_index, class_names, place, read_mask
from msam_nn.inference.prompt_file import ClassPrompts
from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicks import Click

from .test_geometry import READERS, affine_of, plans_manager, preprocess, save

SHAPE_XYZ = (20, 18, 14)
FILLED = (slice(2, 19), slice(1, 16), slice(2, 13))
"""The rest is an empty margin that nnU-Net crops away."""
OBJECT = (slice(6, 13), slice(4, 9), slice(5, 10))
NAMES = [("tumour", "1")]


def write_case(path, affine):
    """An image whose voxels are 1 + the mask, and the mask; three channels as in test_geometry."""
    mask = np.zeros(SHAPE_XYZ)
    mask[OBJECT] = 1
    mask[6:9, 9:13, 5:7] = 1  # makes it unlike all its mirror images
    image = np.zeros(SHAPE_XYZ)
    image[FILLED] = 1
    image += mask
    files = [save(path / f"case_{c:04d}.nii.gz", image, affine) for c in range(3)]
    return files, Path(save(path / "mask.nii.gz", mask, affine))


@pytest.fixture
def straight(tmp_path):
    """Case and geometry without reorientation, cropping or resampling."""
    files, mask = write_case(tmp_path, np.diag([2.0, 2.0, 2.0, 1.0]))
    return ImageGeometry.from_file(Path(files[0])), Path(files[0]), mask


def test_flat_boxes_in_mm_are_flat_though_their_bounds_are_rounded(tmp_path):
    """To a thousandth of a mm, as msam prompts writes them: two in a thousand of a voxel of 0.4883 mm."""
    files, _ = write_case(tmp_path, np.diag([0.4883, 0.4883, 0.4883, 1.0]))
    geometry = ImageGeometry.from_file(Path(files[0]))
    for first in range(10):
        box = (first, first + 1, 4, 12, 5, 14)
        bounds = [round(float(v), 3) for v in geometry.box_to_world(box)]
        assert box_to_network(bounds, "world", geometry, "it").through == 0


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "axes, signs", [((0, 1, 2), (1, 1, 1)), ((0, 1, 2), (-1, 1, -1)), ((1, 2, 0), (1, -1, 1)), ((2, 0, 1), (-1, -1, 1))]
)
def test_prompts_land_where_they_belong(tmp_path, reader, axes, signs):
    """Flips, axis permutations, anisotropy and cropping: the preprocessed image itself shows where the object lies."""
    files, mask_file = write_case(tmp_path, affine_of(axes, signs, (1.0, 0.8, 2.5)))
    manager = plans_manager(reader, (1, 2, 0), (1.3, 1.1, 0.9), "DefaultPreprocessor")
    data, properties = preprocess(manager, files)
    geometry = ImageGeometry.from_properties(properties, manager.transpose_forward, data.shape[1:])
    truth = data[0] - 1

    bounds_zyx = tuple(b for s in OBJECT[::-1] for b in (s.start, s.stop))
    centre_zyx = tuple((s.start + s.stop) // 2 for s in OBJECT[::-1])
    in_voxels = ClassPrompts(((*centre_zyx, 1), (3, 2, 3, 0)), (bounds_zyx,), mask_file)
    placed = place({"1": in_voxels}, "voxel", NAMES, geometry, Path(files[0]))[0]

    np.testing.assert_allclose(placed.mask.numpy(), truth, atol=1e-3)
    inside, outside = placed.clicks
    assert inside.positive and truth[inside.voxel] > 0.99
    assert not outside.positive and truth[outside.voxel] == 0
    middle = [(lower + upper) // 2 for lower, upper in placed.boxes[0].box]
    for axis, (lower, upper) in enumerate(placed.boxes[0].box):
        for edge, beyond in ((lower, lower - 1), (upper - 1, upper)):
            shares = [truth[tuple(middle[:axis] + [at] + middle[axis + 1 :])] for at in (edge, beyond)]
            assert shares[0] > 0.5 > shares[1]

    whole = ImageGeometry.from_file(Path(files[0]))
    point_mm = sitk.ReadImage(files[0]).TransformIndexToPhysicalPoint([int(i) for i in centre_zyx[::-1]])
    in_mm = ClassPrompts(((*point_mm, 1),), (whole.box_to_world(bounds_zyx),))
    same = place({"tumour": in_mm}, "world", NAMES, geometry, Path(files[0]))[0]
    assert same.clicks == [inside] and same.promises == [Click(0, centre_zyx, True)] and same.boxes == placed.boxes


def test_upper_bounds_are_excluded(straight):
    geometry, image, _ = straight
    placed = place({"1": ClassPrompts(boxes=((2, 4, 4, 7, 0, 20),))}, "voxel", NAMES, geometry, image)
    assert placed[0].boxes == [DrawnBox(((2, 4), (4, 7), (0, 20)))]


def test_a_box_smaller_than_a_network_voxel_keeps_one():
    geometry = ImageGeometry(np.eye(4), np.diag([0.2, 0.2, 0.2, 1]), np.eye(4), (20, 20, 20), (4, 4, 4))
    placed = place({"1": ClassPrompts(boxes=((7, 8, 7, 8, 7, 8),))}, "voxel", NAMES, geometry, Path("none"))
    assert placed[0].boxes == [DrawnBox(((1, 2), (1, 2), (1, 2)))]


def test_a_box_of_one_slice_is_flat_in_voxels_and_in_mm():
    world_from_file = np.diag([1.0, 2.0, 5.0, 1.0]) @ np.eye(4)[[2, 1, 0, 3]]  # file voxels are z, y, x
    network_from_file = np.diag([1.0, 1.0, 2.0, 1.0])[:, [1, 2, 0, 3]]  # z, y, x are axes 1, 2, 0; y twice as fine
    geometry = ImageGeometry(world_from_file, network_from_file, np.eye(4), (20, 30, 40), (40, 20, 60))
    for bounds, through in (((2, 3, 4, 7, 0, 20), 1), ((2, 8, 4, 5, 0, 20), 2), ((2, 8, 4, 8, 9, 10), 0)):
        found = box_to_network(bounds, "voxel", geometry, "box")
        assert found.through == through
        assert box_to_network(geometry.box_to_world(bounds), "world", geometry, "box") == found
    assert box_to_network((2, 3, 4, 5, 0, 20), "voxel", geometry, "box").through is None  # a line


@pytest.mark.parametrize("degrees", [0, 15, 30])
def test_boxes_in_mm_at_the_border_of_an_oblique_image(degrees):
    turn = np.eye(4)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn[:2, :2] = [[c, -s], [s, c]]
    world_from_file = turn @ np.diag([1, 1, 4, 1]) @ np.eye(4)[[2, 1, 0, 3]]  # file voxels are z, y, x
    geometry = ImageGeometry(world_from_file, np.eye(4), np.eye(4), (24, 64, 64), (24, 64, 64))
    bounds = (10, 12, 0, 6, 58, 64)
    found = box_to_network(geometry.box_to_world(bounds), "world", geometry, "box")
    assert found.through is None
    whole = zip(found.box, np.reshape(bounds, (3, 2)), (24, 64, 64), strict=True)
    assert all(0 <= a <= c and d <= b <= n for (a, b), (c, d), n in whole)
    assert (found.box == tuple(map(tuple, np.reshape(bounds, (3, 2)).tolist()))) is (degrees == 0)
    beside = geometry.box_to_world((10, 12, 0, 6, 164, 170))
    with pytest.raises(UserError, match="leaves the image"):
        box_to_network(beside, "world", geometry, "box")


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"3": ClassPrompts()}, r"no class 3; its classes are tumour \(1\)"),
        ({"1": ClassPrompts(), "tumour": ClassPrompts()}, "named twice"),
        ({"1": ClassPrompts(((1, 1, 1, 1), (14, 0, 0, 1)))}, "class 1, points 1: .*outside the image.*another case"),
        ({"1": ClassPrompts(boxes=((0, 4, 0, 4, 0, 21),))}, "boxes 0: .*leaves the image.*another case"),
        ({"1": ClassPrompts(mask=Path("gone.nii.gz"))}, "class 1, mask: There is no file gone"),
    ],
)
def test_prompts_that_do_not_fit(straight, prompts, message):
    geometry, image, _ = straight
    with pytest.raises(UserError, match=message):
        place(prompts, "voxel", NAMES, geometry, image)


def test_a_click_in_the_empty_margin_is_a_promise_of_which_the_network_knows_nothing(tmp_path):
    files, _ = write_case(tmp_path, np.diag([1.0, 1.0, 1.0, 1.0]))
    manager = plans_manager("SimpleITKIO", (0, 1, 2), (1.0, 1.0, 1.0), "DefaultPreprocessor")
    data, properties = preprocess(manager, files)
    geometry = ImageGeometry.from_properties(properties, manager.transpose_forward, data.shape[1:])
    placed = place({"1": ClassPrompts(((0, 0, 0, 1), (3, 2, 3, 0)))}, "voxel", NAMES, geometry, Path(files[0]))[0]
    assert [c.voxel for c in placed.promises] == [(0, 0, 0), (3, 2, 3)]
    assert placed.clicks == [Click(0, (1, 1, 1), False)], "the image begins at voxel (2, 1, 2)"


def test_points_of_another_case_in_mm(straight):
    geometry, image, _ = straight
    with pytest.raises(UserError, match=r"LPS\) lies outside the image.*another case"):
        place({"1": ClassPrompts(((500, 0, 0, 1),))}, "world", NAMES, geometry, image)


@pytest.mark.parametrize("change", ["SetSpacing", "SetOrigin", "SetDirection", "size"])
def test_a_mask_on_another_grid_is_resampled_only_if_asked(straight, tmp_path, change):
    _, image, mask = straight
    other = sitk.ReadImage(str(mask))
    if change == "size":
        other = other[:, :, :-2]
    else:
        values = {"SetSpacing": (2, 2, 2.1), "SetOrigin": (0, 0, 1), "SetDirection": (1, 0, 0, 0, -1, 0, 0, 0, 1)}
        getattr(other, change)(values[change])
        if change == "SetDirection":
            other.SetOrigin((-38, 0, 0))  # x runs the other way, over the same place
    sitk.WriteImage(other, str(tmp_path / "other.nii.gz"))
    with pytest.raises(UserError, match="--resample-masks"):
        read_mask(tmp_path / "other.nii.gz", image)
    with pytest.warns(UserWarning, match="was resampled"):
        resampled = read_mask(tmp_path / "other.nii.gz", image, resample=True)
    assert resampled.shape == SHAPE_XYZ[::-1] and resampled.any()
    if change == "size":
        np.testing.assert_array_equal(resampled, read_mask(mask, image))


def test_empty_and_unreadable_masks(straight, tmp_path):
    _, image, mask = straight
    sitk.WriteImage(sitk.ReadImage(str(mask)) * 0, str(tmp_path / "empty.nii.gz"))
    with pytest.raises(UserError, match="is empty"):
        read_mask(tmp_path / "empty.nii.gz", image)
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(UserError, match="text.nii.gz"):
        read_mask(tmp_path / "text.nii.gz", image)


def test_class_names_follow_label_values_and_regions_have_names_only():
    labels = {"background": 0, "late": 2, "early": 1, "ignore": 3}
    names = class_names({"labels": labels}, LabelManager(labels, None))
    assert names == [("early", "1"), ("late", "2")]
    assert class_index("2", names) == class_index("late", names) == 1
    regions = {"background": 0, "whole": [1, 2], "core": 2}
    names = class_names({"labels": regions}, LabelManager(regions, [1, 2]))
    assert names == [("whole",), ("core",)]
    with pytest.raises(UserError, match="its classes are whole, core"):
        class_index("2", names)
