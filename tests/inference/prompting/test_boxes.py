"""What boxes and flat boxes say, with values by hand."""

import math

import pytest
import torch

from msam_nn.inference.prompting.boxes import DrawnBox

EQUAL = (1.0, 1.0, 1.0)


def test_a_box_has_its_object_inside_seen_from_anywhere():
    inside = DrawnBox(((0, 8), (7, 9), (0, 18))).inside((0, 6, 16), (8, 8, 8), (2.0, 1.0, 1.0))
    assert inside.sum() == 8 * 2 * 2
    assert inside[0, 1, 0] and inside[7, 2, 1] and not inside[0, 3, 0] and not inside[0, 1, 2]


@pytest.mark.parametrize(("unit", "edges"), [(EQUAL, [6, 4, 2, 4, 6]), ((1.0, 2.0, 2.0), [10, 6, 2, 6, 10])])
def test_an_object_may_leave_a_flat_box_by_its_distance_from_the_slice(unit, edges):
    """One slice away counts as a voxel, or, where slices are twice as thick as pixels are wide, as two."""
    inside = DrawnBox(((2, 3), (4, 6), (4, 6)), through=0).inside((0, 0, 0), (5, 10, 10), unit)
    assert inside.sum((1, 2)).tolist() == [edge**2 for edge in edges]
    assert inside[1, :, 5].nonzero().flatten().tolist() == list(range(5 - edges[1] // 2, 5 + edges[1] // 2))


def test_the_section_of_a_flat_box_lies_in_its_slice():
    flat = DrawnBox(((2, 3), (4, 6), (4, 6)), through=0)
    assert flat.section().inside((0, 0, 0), (5, 10, 10), EQUAL).nonzero()[:, 0].unique().tolist() == [2]
    assert flat.centre == (2, 4, 4)


def row(*values):
    """A box of ``(1, 1, n)`` voxels and logits in it."""
    return DrawnBox(((0, 1), (0, 1), (0, len(values)))), torch.tensor(values, dtype=torch.float32)[None, None]


def test_sides_that_are_not_reached_are_raised_and_fade():
    box, logits = row(*[-1.0] * 9, 2, *[-1.0] * 10)
    reached = box.reaching(logits, EQUAL)[0, 0]
    fading = math.exp(-0.5 * 3**2)  # 18 voxels; a standard deviation is 0.3 times 20
    lacking = 0.5 - (-1 + 1.5 * fading)  # at voxel 18, of the last two the nearer to what the first side raised
    assert reached[18] == pytest.approx(0.5, abs=1e-5)
    assert reached[0] == pytest.approx(0.5 + lacking * fading, abs=1e-5)
    assert reached[6] == pytest.approx(-1 + 1.5 * math.exp(-0.5 * 1) + lacking * math.exp(-0.5 * 2**2), abs=1e-5)


def test_sides_that_are_reached_within_a_voxel_change_nothing():
    box, logits = row(-5, 0.5, *[-1.0] * 4, 3, -5)
    assert torch.equal(box.reaching(logits, EQUAL), logits)


def test_a_surely_empty_side_stays_outside():
    box, logits = row(2, *[-9.0] * 8)
    reached = box.reaching(logits, EQUAL)[0, 0]
    assert reached[-1] < -4 and (reached > 0).tolist() == [True] + [False] * 8


@pytest.mark.parametrize("edge", [3, 4, 10])
def test_sides_do_not_add_up(edge):
    """Six sides raise by four logits together where they meet."""
    box = DrawnBox(((0, edge),) * 3)
    assert box.reaching(torch.full((edge,) * 3, -9.5), EQUAL).max() == -5.5


def test_what_is_not_known_is_not_raised_and_tells_no_side():
    box, logits = row(*[-math.inf] * 3, -1.0, 2, 2, -1, -1)
    reached = box.reaching(logits, EQUAL)[0, 0]
    assert reached[:3].isneginf().all() and reached[3] < 0 and reached[-2:].max() >= 0.5


def test_a_flat_box_is_reached_in_its_slice_alone():
    flat = DrawnBox(((2, 3), (0, 10), (0, 10)), through=0)
    logits = torch.full((5, 10, 10), -1.0)
    logits[2, 4:6, 4:6] = logits[:, 0, 0] = logits[0] = 1.0
    reached = flat.reaching(logits, EQUAL)
    for side in (reached[2, :2], reached[2, -2:], reached[2, :, :2], reached[2, :, -2:]):
        assert side.max() >= 0.5
    raised = reached - logits
    assert raised[2, -1].max() > 1.4 and raised[2].max() > raised[1].max() > raised[0].max() > 0


def test_only_a_flat_box_raises_anything_outside_of_it():
    shape = (40, 40, 40)
    bounds = ((10, 20), (10, 20), (10, 30))
    assert DrawnBox(bounds).region(shape, EQUAL) == (slice(10, 20), slice(10, 20), slice(10, 30))
    flat = ((10, 11), (10, 20), (10, 30))  # three times 0.3 of the longer edge, 20 voxels, to either side
    assert DrawnBox(flat, 0).region(shape, EQUAL) == (slice(0, 29), slice(10, 20), slice(10, 30))
    assert DrawnBox(flat, 0).region(shape, (1.0, 4.0, 4.0))[0] == slice(5, 15)  # slices four times as thick
