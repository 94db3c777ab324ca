import numpy as np
import pytest
from matplotlib.image import imread

from msam_nn.reports.prompt_picture import BOX_COLOUR, INSIDE_COLOUR, PromptedClass, save_prompt_picture

IMAGE = np.zeros((10, 20, 30))
SPACING = (3.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("prompts", "focus"),
    [
        (dict(points=[(1, 2, 3, 0), (4, 5, 6, 1)], boxes=[(0, 4, 0, 4, 0, 4)]), (4, 5, 6)),
        (dict(points=[(1, 2, 3, 0)]), (1, 2, 3)),
        (dict(boxes=[(0, 5, 10, 12, 7, 8)]), (2, 10, 7)),
        (dict(mask=np.pad(np.ones((1, 1, 1), bool), ((3, 6), (4, 15), (5, 24)))), (3, 4, 5)),
        ({}, (5, 10, 15)),
    ],
)
def test_slices_go_through_the_first_prompt(prompts, focus):
    assert PromptedClass("", IMAGE, SPACING, **prompts).focus == focus


def test_a_mask_on_a_single_slice_is_drawn(tmp_path):
    mask = np.zeros((1, 20, 30), bool)
    mask[0, :4, 5:9] = True
    row = PromptedClass("case", np.zeros(mask.shape), SPACING, mask=mask)
    assert save_prompt_picture(tmp_path / "flat.png", [row]).is_file()


def colour_centres(picture, colour):
    """Mean row and column of the pixels of a colour in each third (view) of the picture."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    hits = (np.abs(picture[..., :3] - rgb) < 0.02).all(-1)
    hits[int(0.87 * len(hits)) :] = False  # the legend
    edges = np.linspace(0, picture.shape[1], 4).astype(int)
    views = [np.argwhere(hits[:, a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [view.mean(0) / (len(picture), edges[1]) if len(view) else None for view in views]


def test_points_and_boxes_are_drawn_where_they_are(tmp_path):
    row = PromptedClass("case", IMAGE, SPACING, points=[(8, 3, 25, 1)])
    low_left = PromptedClass("case", IMAGE, SPACING, boxes=[(1, 3, 15, 18, 2, 6)])
    point = colour_centres(imread(save_prompt_picture(tmp_path / "point.png", [row])), INSIDE_COLOUR)
    box = colour_centres(imread(save_prompt_picture(tmp_path / "box.png", [low_left])), BOX_COLOUR)
    for (point_down, point_across), (box_down, _) in zip(point, box, strict=True):
        assert point_down < box_down  # small y is up in the axial view, large z in the others
        assert point_across != pytest.approx(0.5, abs=0.05)
    assert point[0][1] > box[0][1] and point[1][1] > box[1][1]  # x to the right
    assert point[2][1] < box[2][1]  # y to the right


def test_without_rows(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        save_prompt_picture(tmp_path / "none.png", [])
