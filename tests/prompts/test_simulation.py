from collections import Counter

import numpy as np
import pytest
import torch

from msam_nn.prompts import (
    central_error_clicks,
    click_of_largest_error,
    largest_error_clicks,
    sample_error_clicks,
    uniform_click,
)
from msam_nn.prompts.simulation import count_per_row


def test_click_falls_uniformly_on_the_error_region_and_nowhere_else():
    error = torch.zeros(1, 1, 4, 3, 5, dtype=torch.bool)
    voxels = {(1, 2, 3), (3, 0, 0), (3, 0, 4), (0, 0, 0)}
    for voxel in voxels:
        error[0, 0][voxel] = True
    generator = torch.Generator().manual_seed(0)
    n = 4000
    points = sample_error_clicks(error.expand(n, 1, 4, 3, 5), error.expand(n, 1, 4, 3, 5), generator).points
    counts = Counter(map(tuple, points[:, 0, 0].tolist()))
    assert set(counts) == voxels
    # Four equally likely voxels: a standard deviation is 27, so 5 of them stay within 140.
    assert all(abs(count - n / 4) < 140 for count in counts.values())


def test_labels_say_missed_wrongly_included_or_no_click():
    error = torch.zeros(3, 1, 2, 2, 2, dtype=torch.bool)
    error[0, 0, 1, 0, 1] = error[1, 0, 0, 1, 1] = True
    target = torch.zeros_like(error)
    target[0, 0, 1, 0, 1] = True
    points, labels = sample_error_clicks(error, target)
    assert labels.flatten().tolist() == [1, 0, -1]
    assert points[0, 0, 0].tolist() == [1, 0, 1]
    assert points[1, 0, 0].tolist() == [0, 1, 1]


def test_classes_get_their_own_clicks():
    error = torch.zeros(1, 2, 3, 3, 3, dtype=torch.bool)
    error[0, 0, 0, 0, 0] = error[0, 1, 2, 2, 2] = True
    points, labels = sample_error_clicks(error, error)
    assert points.shape == (1, 2, 1, 3) and labels.shape == (1, 2, 1)
    assert points[0, :, 0].tolist() == [[0, 0, 0], [2, 2, 2]]


def test_clicks_are_reproducible_from_a_generator():
    error = torch.rand(2, 2, 9, 7, 8, generator=torch.Generator().manual_seed(1)) > 0.5
    draws = [sample_error_clicks(error, error, torch.Generator().manual_seed(5)).points for _ in range(2)]
    assert torch.equal(*draws)
    other = sample_error_clicks(error, error, torch.Generator().manual_seed(6)).points
    assert not torch.equal(draws[0], other)


def test_a_full_error_region_can_be_clicked_in_its_last_voxel():
    error = torch.ones(2000, 1, 1, 2, 2, dtype=torch.bool)
    points = sample_error_clicks(error, error, torch.Generator().manual_seed(0)).points
    assert set(map(tuple, points[:, 0, 0].tolist())) == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)}


@pytest.mark.parametrize("shape", [(2, 3, 64), (3, 5, 7), (1, 1, 2056)])
def test_fast_counting_counts(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) > 0.3
    for rows in (mask, torch.ones_like(mask), mask[..., 1:]):
        assert torch.equal(count_per_row(rows), rows.sum(-1))


def test_a_uniform_click_falls_on_an_error_and_knows_its_kind():
    target, prediction = np.zeros((2, 3, 4, 5), bool)
    target[1, 2, 3], prediction[0, 1, 2] = [True] * 5, [True] * 5
    clicks = [uniform_click(prediction, target, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert {(voxel[:2] == (1, 2), label) for voxel, label in clicks} == {(True, 1), (False, 0)}
    assert all(target[voxel] ^ prediction[voxel] for voxel, _ in clicks)
    assert uniform_click(target, target) is None


def cuboid(shape, *boxes):
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    for z, y, x in boxes:
        mask[0, 0, slice(*z), slice(*y), slice(*x)] = True
    return mask


def test_a_central_click_lies_in_the_middle_of_the_largest_error():
    target = cuboid((16, 16, 24), ((2, 9), (3, 10), (4, 11)), ((12, 15), (12, 15), (18, 21)))
    points, labels = central_error_clicks(target, target)
    assert points[0, 0, 0].tolist() == [5, 6, 7] and labels.item() == 1


def test_a_central_click_keeps_missed_and_wrongly_included_pieces_apart():
    """Side by side they form one error whose middle is the border between them."""
    missed, included = ((2, 13), (2, 13), (1, 12)), ((4, 11), (4, 11), (12, 19))
    error = cuboid((16, 16, 24), missed, included)
    points, labels = central_error_clicks(error, cuboid((16, 16, 24), missed))
    assert labels.item() == 1
    assert all(abs(v - middle) <= 2 for v, middle in zip(points[0, 0, 0].tolist(), (7, 7, 6), strict=True))


def test_a_central_click_on_single_voxels_and_on_none():
    error = torch.zeros(3, 2, 4, 3, 5, dtype=torch.bool)
    error[0, 0, 3, 2, 4] = error[2, 1, 0, 0, 0] = True
    target = error.clone()
    target[2] = False
    points, labels = central_error_clicks(error, target)
    assert points.shape == (3, 2, 1, 3) and labels[..., 0].tolist() == [[1, -1], [-1, -1], [-1, 0]]
    assert points[0, 0, 0].tolist() == [3, 2, 4] and points[2, 1, 0].tolist() == [0, 0, 0]


def test_careful_clicks_are_those_of_the_evaluation():
    """A bar of five voxels and a larger piece that was wrongly included, in different samples and classes."""
    error, target = torch.zeros(2, 2, 2, 9, 8, 12, dtype=torch.bool)
    error[0, 1, 2:7, 3, 4] = target[0, 1, 2:7, 3, 4] = True
    error[1, 0, 1, 1, 1] = target[1, 0, 1, 1, 1] = True
    error[1, 0, 4:9, 3:8, 6:11] = True
    points, labels = largest_error_clicks(error, target)
    assert points.shape == (2, 2, 1, 3) and labels[..., 0].tolist() == [[-1, 1], [0, -1]]
    assert points[0, 1, 0].tolist() == [4, 3, 4] and points[1, 0, 0].tolist() == [6, 5, 8]


def test_careful_clicks_on_random_errors_are_those_of_single_masks():
    error, target = torch.rand(2, 1, 3, 12, 10, 14, generator=torch.Generator().manual_seed(3)) > 0.6
    spacing = (3.0, 0.8, 1.0)
    points, labels = largest_error_clicks(error, target, spacing)
    rows = zip((error ^ target)[0].numpy(), target[0].numpy(), strict=True)
    expected = [click_of_largest_error(*row, spacing) for row in rows]
    assert [(tuple(p), n) for p, n in zip(points[0, :, 0].tolist(), labels[0, :, 0].tolist(), strict=True)] == expected
