"""Where prompts lie on an image of 10 x 20 x 30 voxels of 2 x 1 x 1 mm; nnU-Net cropped its first two slices away."""

import numpy as np
import pytest

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicks import Click
from msam_nn.server.placing import Placing, rounded

SHAPE, CROPPED = (10, 20, 30), 2


@pytest.fixture
def placing():
    crop = np.eye(4)
    crop[0, 3] = -CROPPED
    geometry = ImageGeometry(np.eye(4), crop, np.eye(4), SHAPE, (SHAPE[0] - CROPPED, *SHAPE[1:]))
    return Placing(geometry, OutputGrid.of(geometry))


@pytest.mark.parametrize(
    ("position", "voxel"),
    [((3.4, 5, 6), (3, 5, 6)), ((-1, 20, 30), (0, 19, 29)), ((-1.6, 5, 6), None), ((3, 21, 6), None)],
)
def test_a_position_is_rounded_and_may_lie_a_voxel_outside(placing, position, voxel):
    assert placing.voxel(position) == voxel


def test_bounds_are_whole_and_in_order():
    assert rounded(((4.4, 1.2), (3, 3), (0, 7))) == ((1, 4), (3, 4), (0, 7))


def test_a_box_is_clipped_to_the_image(placing):
    assert placing.clipped(((-5, 3), (15, 40), (2, 4))) == ((0, 3), (15, 20), (2, 4))
    assert placing.clipped(((10, 12), (0, 3), (0, 3))) is None


def test_a_drawing_is_cut_to_what_lies_in_the_image(placing):
    drawn = np.zeros((4, 4, 4), bool)
    drawn[1, 1, 1] = drawn[3, 2, 1] = True
    box, kept = placing.drawing(((-2, 2), (5, 9), (6, 10)), drawn)
    assert box == ((1, 2), (7, 8), (7, 8)) and kept.tolist() == [[[True]]]


def test_nothing_drawn_in_the_image_is_no_drawing(placing):
    assert placing.drawing(((0, 2), (0, 2), (0, 2)), np.zeros((2, 2, 2), bool)) is None
    assert placing.drawing(((-4, -2), (0, 2), (0, 2)), np.ones((2, 2, 2), bool)) is None


def test_a_drawing_has_the_size_of_its_box(placing):
    with pytest.raises(UserError, match="its box"):
        placing.drawing(((0, 2), (0, 2), (0, 2)), np.ones((3, 2, 2), bool))


def test_points_on_a_drawing_are_the_drawn_voxels_nearest_to_the_clicks(placing):
    drawn = np.zeros((1, 20, 20), bool)
    drawn[0, 10] = True
    box = ((4, 5), (0, 20), (0, 20))
    clicks = [Click(0, (2, 10, 3), True), Click(0, (2, 11, 3), True), Click(0, (1, 9, 17), True)]
    assert placing.points_on(box, drawn, clicks) == [(4, 10, 3), (4, 10, 17)]
    assert placing.points_on(box, drawn, []) in ([(4, 10, 9)], [(4, 10, 10)])


def test_the_margin_that_was_cropped_away_takes_no_clicks(placing):
    assert placing.clicks([(1, 5, 5), (4, 5, 5)], 1, positive=False) == [Click(1, (2, 5, 5), False)]
    assert placing.network_box(((0, 2), (5, 9), (5, 9))) is None
    assert placing.network_box(((3, 6), (5, 9), (5, 9))) == DrawnBox(((1, 4), (5, 9), (5, 9)))
    assert placing.network_box(((3, 4), (5, 9), (5, 9))) == DrawnBox(((1, 2), (5, 9), (5, 9)), through=0)
