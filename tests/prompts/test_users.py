import numpy as np
import pytest

from msam_nn.prompts.users import centre_of_largest_error, click_of_largest_error, click_of_largest_section


def test_centre_is_the_deepest_voxel_of_the_largest_component():
    error = np.zeros((9, 9, 20), bool)
    error[2:7, 2:7, 2:7] = True
    error[4, 4, 15] = True
    assert centre_of_largest_error(error) == (4, 4, 4)


def test_centre_counts_the_image_border_as_a_border():
    assert centre_of_largest_error(np.ones((5, 5, 5), bool)) == (2, 2, 2)


def test_centre_measures_in_mm():
    # A 3 x 7 bar at 4 mm and 1 mm: 12 mm against 7 mm, so the shorter physical way out is along the last axis.
    error = np.zeros((5, 9, 9), bool)
    error[1:4, 1:8, 1:8] = True
    assert centre_of_largest_error(error, (0.1, 1, 1))[0] == 2
    plate = np.zeros((7, 7, 3), bool)
    plate[:, :, 1] = True
    assert centre_of_largest_error(plate, (1, 1, 10)) == (3, 3, 1)


def test_a_thin_error_is_clicked_in_its_middle_not_at_its_tip():
    bar = np.zeros((9, 5, 5), bool)
    bar[1:8, 2, 2] = True
    assert centre_of_largest_error(bar) == (4, 2, 2)


def test_the_middle_of_a_thin_error_is_measured_in_mm():
    """An angle with arms of four voxels: its centre of mass is (6/7, 6/7), as far from (0, 1) as from (1, 0), of which
    the first counts; with 5 mm along the first axis it is 4.3 mm from the former and 1.1 mm from the latter."""
    angle = np.zeros((5, 5, 3), bool)
    angle[:4, 0, 1] = angle[0, :4, 1] = True
    assert centre_of_largest_error(angle) == (0, 1, 1)
    assert centre_of_largest_error(angle, (5, 1, 1)) == (1, 0, 1)


def test_no_error_gives_no_centre():
    assert centre_of_largest_error(np.zeros((3, 3, 3), bool)) is None


def test_single_voxel_is_its_own_centre():
    error = np.zeros((3, 4, 5), bool)
    error[2, 0, 4] = True
    assert centre_of_largest_error(error) == (2, 0, 4)


@pytest.mark.parametrize(
    ("missed", "included", "expected"),
    [(5, 3, ((2, 2, 2), 1)), (3, 5, ((2, 2, 12), 0)), (0, 3, ((1, 1, 11), 0)), (0, 0, None)],
)
def test_click_of_largest_error_chooses_the_larger_kind(missed, included, expected):
    target = np.zeros((5, 5, 20), bool)
    prediction = np.zeros_like(target)
    target[:missed, :missed, :missed] = True
    prediction[:included, :included, 10 : 10 + included] = True
    assert click_of_largest_error(prediction, target) == expected


def test_a_section_is_clicked_as_deep_as_it_looks():
    """A plate: its slices across the first axis show 9 x 9 voxels, across the second 3 x 9."""
    target, prediction = np.zeros((2, 9, 13, 13), bool)
    target[3:6, 2:11, 2:11] = True
    assert click_of_largest_section(prediction, target, (1, 1, 1), axis=0) == ((3, 6, 6), 1)
    assert click_of_largest_section(prediction, target, (1, 1, 1), axis=1) == ((4, 2, 6), 1)


def test_the_largest_piece_of_a_slice_counts_not_the_most_errors():
    """The first slice has 8 wrong voxels in two pieces, the second 6 in one, wrongly included."""
    target, prediction = np.zeros((2, 4, 9, 9), bool)
    target[0, 0, :4] = target[0, 8, :4] = True
    prediction[2, 4:6, 3:6] = True
    voxel, label = click_of_largest_section(prediction, target, (1, 1, 1), axis=0)
    assert voxel[0] == 2 and prediction[voxel] and label == 0


def test_a_section_is_measured_in_mm():
    """In a triangle the middle moves with the spacing."""
    target = np.zeros((1, 21, 21), bool)
    target[0] = np.tri(21, dtype=bool)
    cubes = click_of_largest_section(np.zeros_like(target), target, (1, 1, 1), axis=0)[0]
    flat = click_of_largest_section(np.zeros_like(target), target, (1, 1, 5), axis=0)[0]
    assert cubes != flat and target[cubes] and target[flat]


def test_sections_of_one_voxel_and_of_none():
    target, prediction = np.zeros((2, 5, 5, 5), bool)
    assert click_of_largest_section(prediction, target, (1, 1, 1), axis=2) is None
    prediction[4, 0, 2] = True
    assert [click_of_largest_section(prediction, target, (3, 1, 2), axis) for axis in range(3)] == [((4, 0, 2), 0)] * 3


def test_in_one_slice_it_is_the_careful_click():
    generator = np.random.default_rng(3)
    prediction, target = generator.random((2, 1, 12, 15)) > 0.5
    expected = click_of_largest_error(prediction, target, (1e6, 2, 1))
    assert click_of_largest_section(prediction, target, (7, 2, 1), axis=0) == expected
