"""Whatever lies between the grids, any box has the labels that nnU-Net's export of the whole volume has there."""

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy import ndimage

from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.output_grid import OutputGrid, labels_of

SHAPE = (9, 14, 11)
CROP = [[1, 8], [2, 14], [0, 9]]
"""In the transposed image."""


def plans(transpose, spacing, labels):
    options = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "spacing": list(spacing),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": options,
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    content = {
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": np.argsort(transpose).tolist(),
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
    }
    manager = PlansManager(content)
    dataset_json = {"labels": labels}
    if isinstance(labels.get("whole"), tuple):
        dataset_json["regions_class_order"] = [1, 2]
    return manager, manager.get_configuration("3d_fullres"), manager.get_label_manager(dataset_json)


TWO = {"background": 0, "organ": 1, "tumour": 2}
REGIONS = {"background": 0, "whole": (1, 2), "core": 2}


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.0, 0.7, 1.3), (5, 1, 1)])
@pytest.mark.parametrize("labels", [{"background": 0, "tumour": 1}, TWO, REGIONS], ids=["one", "two", "regions"])
def test_a_box_has_the_labels_of_nnunets_export(transpose, spacing, labels):
    manager, configuration, label_manager = plans(transpose, spacing, labels)
    own_spacing = [1.0, 1.2, 0.9]
    cropped = [upper - lower for lower, upper in CROP]
    transposed = [own_spacing[axis] for axis in transpose]
    network_shape = [round(n * s / t) for n, s, t in zip(cropped, transposed, spacing, strict=True)]
    crop = [[lower, min(upper, SHAPE[axis])] for (lower, upper), axis in zip(CROP, transpose, strict=True)]
    properties = {
        "spacing": own_spacing,
        "sitk_stuff": {"spacing": own_spacing[::-1], "origin": (0, 0, 0), "direction": np.eye(3).ravel()},
        "bbox_used_for_cropping": crop,
        "shape_before_cropping": [SHAPE[axis] for axis in transpose],
        "shape_after_cropping_and_before_resampling": [upper - lower for lower, upper in crop],
    }
    generator = torch.Generator().manual_seed(3)
    masks = torch.randn(len(labels) - 1, *network_shape, generator=generator)
    logits = masks if label_manager.has_regions else torch.cat([torch.zeros_like(masks[:1]), masks])
    expected = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, configuration, label_manager, properties
    )
    geometry = ImageGeometry.from_properties(properties, transpose, network_shape)
    grid = OutputGrid.of(geometry, configuration, transposed)
    inner = tuple((lower + (upper - lower) // 3, upper - 1) for lower, upper in grid.inside)
    for box in (grid.inside, inner):
        needed = grid.network_box(box)
        part = masks[(slice(None), *(slice(*bounds) for bounds in needed))]
        found = grid.labels(box, part, [lower for lower, _ in needed], label_manager)
        assert np.array_equal(found, expected[tuple(slice(*bounds) for bounds in box)])
    outside = expected.copy()
    outside[tuple(slice(*bounds) for bounds in grid.inside)] = 0
    assert not outside.any()
    # a changed network voxel changes nothing outside its own box
    changed = tuple((n // 2, n // 2 + 1) for n in network_shape)
    masks[(slice(None), *(slice(*bounds) for bounds in changed))] *= -20
    later = grid.labels(grid.inside, masks, (0, 0, 0), label_manager)
    differs = np.zeros(SHAPE, bool)
    differs[tuple(slice(*b) for b in grid.inside)] = later != expected[tuple(slice(*b) for b in grid.inside)]
    assert differs.any()
    differs[tuple(slice(*bounds) for bounds in grid.own_box(changed))] = False
    assert not differs.any()


def test_slabs_are_bounded_and_cover_a_box(monkeypatch, grid):
    monkeypatch.setattr("msam_nn.inference.output_grid.SLAB", 20)
    box = ((1, 6), (2, 5), (0, 3))
    assert list(grid.slabs(box, 1)) == [((1, 3), *box[1:]), ((3, 5), *box[1:]), ((5, 6), *box[1:])]
    assert [slab[0] for slab in grid.slabs(((0, 2), (0, 9), (0, 7)), 1)] == [(0, 1), (1, 2)]  # one slice at least
    coarse = OutputGrid((8, 4, 4), (16, 4, 4), (0, 1, 2), (2.0, 1.0, 1.0), (0.5, 0.0, 0.0))
    assert [slab[0] for slab in coarse.slabs(((0, 4), (0, 2), (0, 2)), 1)] == [(0, 2), (2, 4)]  # 20 / 2 / 4 slices
    assert [slab[0] for slab in grid.slabs(((0, 2), (0, 2), (0, 2)), 5)] == [(0, 1), (1, 2)]


@pytest.fixture
def grid():
    """Twice as fine along z as the network's, flipped along x, with a margin of two voxels along y."""
    return OutputGrid((8, 9, 7), (4, 7, 7), (0, 1, 2), (0.5, 1.0, -1.0), (-0.25, -2.0, 6.0))


def test_a_mask_becomes_shares(grid):
    mask = np.random.default_rng(0).random((8, 9, 7)) > 0.6
    matrix = np.diag([2, 1, -1.0])
    expected = ndimage.affine_transform(
        mask.astype(np.float32), matrix, (0.5, 2, 6), output_shape=(4, 7, 7), order=1, mode="nearest"
    )
    np.testing.assert_allclose(grid.shares(mask).numpy(), expected, atol=1e-6)
    assert not grid.shares(np.zeros((8, 9, 7), bool)).any()


def test_a_thin_line_stays_whole(grid):
    box, drawn = grid.drawn(((0, 8), (4, 5), (1, 2)), np.ones((8, 1, 1), bool))
    assert box == ((0, 4), (2, 3), (5, 6)) and drawn.all()
    coarse = OutputGrid((4, 4, 4), (12, 4, 4), (0, 1, 2), (3.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    box, drawn = coarse.drawn(((1, 3), (0, 1), (0, 1)), np.ones((2, 1, 1), bool))
    assert drawn.sum() == 6 - 2 and box == ((4, 8), (0, 1), (0, 1))  # 3 to 8 are theirs, 4 to 7 their centres' span


def test_drawings_in_the_margin_are_nowhere(grid):
    assert grid.inside == ((0, 8), (2, 9), (0, 7))
    assert grid.drawn(((0, 8), (0, 2), (0, 7)), np.ones((8, 2, 7), bool)) is None
    assert grid.drawn(((0, 8), (0, 4), (0, 7)), np.zeros((8, 4, 7), bool)) is None
    assert grid.own_box(((0, 1), (0, 1), (0, 1))) == ((0, 3), (2, 3), (6, 7))


def test_labels_are_nnunets():
    masks = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    for labels in (TWO, REGIONS):
        *_, manager = plans((0, 1, 2), (1, 1, 1), labels)
        logits = masks if manager.has_regions else torch.cat([torch.zeros_like(masks[:1]), masks])
        assert torch.equal(labels_of(masks, manager).long(), manager.convert_logits_to_segmentation(logits).long())
