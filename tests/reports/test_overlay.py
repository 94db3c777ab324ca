"""The overlay: the chosen slices, the outlines in mm, the titles and the size of the file."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from msam_nn.reports.overlay import (
    CLASS_COLOURS,
    DOTS_PER_INCH,
    GAP_INCHES,
    LEGEND_INCHES,
    PANEL_INCHES,
    PREDICTION_COLOURS,
    TITLE_INCHES,
    TRUTH_COLOUR,
    OverlayCase,
    chosen_slices,
    draw_overlay,
    save_overlay,
)

SHAPE, SPACING = (10, 20, 30), (4.0, 2.0, 1.0)


def box(z, y, x):
    mask = np.zeros(SHAPE, np.uint8)
    mask[slice(*z), slice(*y), slice(*x)] = 1
    return mask


@pytest.fixture
def case():
    image = np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE)
    truth = box((3, 7), (5, 9), (10, 20))
    truth[3, 5, 20:24] = 1
    clicks = np.array([[3, 6, 12], [9, 1, 1]])
    return OverlayCase("a", image, truth, {"b": box((3, 7), (5, 9), (15, 20))}, SPACING, clicks, np.array([1, 0]))


def outlines(axes):
    """Colour -> bounding box (left, right, top, bottom in mm) of everything outlined in it."""
    boxes = {}
    for lines in axes.collections:
        points = np.concatenate([path.vertices for path in lines.get_paths()])
        boxes[to_hex(lines.get_edgecolor()[0]).upper()] = (
            *points[:, 0][[points[:, 0].argmin(), points[:, 0].argmax()]],
            points[:, 1].min(),
            points[:, 1].max(),
        )
    return boxes


def test_slices_show_the_truth_else_the_prediction_else_the_middle(case):
    assert chosen_slices(case) == (3, 5, 10)
    nothing = np.zeros(SHAPE, np.uint8)
    found = OverlayCase("a", case.image, nothing, case.predictions, SPACING)
    assert chosen_slices(found) == (3, 5, 15)
    assert chosen_slices(OverlayCase("a", case.image, nothing, {}, SPACING)) == (5, 10, 15)


def test_outlines_lie_on_the_borders_of_the_masks_in_mm(case):
    axial, coronal, sagittal = draw_overlay([case]).axes
    # voxel [a, b) of spacing s covers [a s, b s]; the contour runs through the middle between voxel centres
    assert outlines(axial)[PREDICTION_COLOURS[0]] == pytest.approx((15, 20, 10, 18))
    assert outlines(coronal)[PREDICTION_COLOURS[0]] == pytest.approx((15, 20, 12, 28))
    assert outlines(axial)[TRUTH_COLOUR] == pytest.approx((10, 24, 10, 18))
    assert outlines(sagittal)[TRUTH_COLOUR] == pytest.approx((10, 18, 12, 28))
    assert PREDICTION_COLOURS[0] not in outlines(sagittal)


def test_classes_and_regions_are_outlined_in_a_colour_each(case):
    truth = box((3, 7), (5, 9), (10, 20)) + box((3, 7), (5, 9), (10, 15))
    classes = {"whole": (1, 2), "core": (2,)}
    figure = draw_overlay([OverlayCase("a", case.image, truth, {}, SPACING, classes=classes)])
    axial = outlines(figure.axes[0])
    assert axial[CLASS_COLOURS[0]] == pytest.approx((10, 20, 10, 18))
    assert axial[CLASS_COLOURS[1]] == pytest.approx((10, 15, 10, 18))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["whole", "core"]


def test_outline_at_the_edge_of_the_image_is_closed(case):
    whole = OverlayCase("a", case.image, np.ones(SHAPE, np.uint8), {}, SPACING)
    assert outlines(draw_overlay([whole]).axes[0])[TRUTH_COLOUR] == pytest.approx((0, 30, 0, 40))


def test_views_have_the_right_proportions_and_orientation(case):
    axial, coronal, sagittal = draw_overlay([case]).axes
    assert (axial.get_xlim(), axial.get_ylim()) == ((0, 30), (40, 0))
    assert (coronal.get_xlim(), coronal.get_ylim()) == ((0, 30), (0, 40))
    assert (sagittal.get_xlim(), sagittal.get_ylim()) == ((0, 40), (0, 40))
    assert all(axes.get_aspect() == 1 for axes in (axial, coronal, sagittal))


def test_clicks_appear_only_in_slices_near_them(case):
    axial, coronal, sagittal = draw_overlay([case]).axes
    (click,) = axial.lines
    assert click.get_xydata().tolist() == [[12.5, 13.0]]
    assert len(coronal.lines) == 1 and len(sagittal.lines) == 0


def test_titles_and_legend(case):
    nothing = np.zeros(SHAPE, np.uint8)
    healthy = OverlayCase("healthy", case.image, nothing, {"b": nothing}, SPACING)
    alarmed = OverlayCase("alarmed", case.image, nothing, {"b": case.truth}, SPACING)
    figure = draw_overlay([case, healthy, alarmed])
    titles = [text.get_text() for text in figure.texts]
    assert titles[0].split() == ["a", "Dice", "0.656"]
    assert titles[1].endswith("nothing to find, nothing found")
    assert titles[2].endswith("nothing to find, 164 voxels found")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["truth", "b", "click: add", "click: remove"]


def test_png_size(tmp_path, case):
    file = save_overlay(tmp_path / "new" / "a.png", [case, case])
    # views of 30 x 40, 30 x 40 and 40 x 40 mm, the longer side three inches
    width = (0.75 + 0.75 + 1) * PANEL_INCHES + 2 * GAP_INCHES
    height = 2 * (PANEL_INCHES + TITLE_INCHES) + LEGEND_INCHES
    pixels = imread(file)
    assert pixels.shape[:2] == pytest.approx((height * DOTS_PER_INCH, width * DOTS_PER_INCH), abs=1)
    for colour in (TRUTH_COLOUR, PREDICTION_COLOURS[0]):
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert (np.abs(pixels[..., :3] - wanted).max(axis=-1) < 0.01).any()


def test_wrong_input(case):
    with pytest.raises(ValueError, match="one shape"):
        OverlayCase("a", case.image, case.truth[1:], {}, SPACING)
    with pytest.raises(ValueError, match="4 predictions"):
        OverlayCase("a", case.image, case.truth, {str(i): case.truth for i in range(4)}, SPACING)
    with pytest.raises(ValueError, match="1 clicks but 0"):
        OverlayCase("a", case.image, case.truth, {}, SPACING, np.zeros((1, 3), int))
    with pytest.raises(ValueError, match="no cases"):
        draw_overlay([])
