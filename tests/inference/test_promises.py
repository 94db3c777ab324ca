import numpy as np
import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.promises import Promises
from msam_nn.inference.prompting.clicks import Click

LABELS = LabelManager({"background": 0, "tumour": 1, "organ": 2}, None)
REGIONS = LabelManager({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, [1, 2, 3])
IDENTITY = ImageGeometry(np.eye(4), np.eye(4), np.eye(4), (3, 3, 3), (3, 3, 3))


def kept(manager, clicks, value, probabilities=None):
    """The label of the clicked voxel of a segmentation that was ``value`` all over, and the remarks."""
    segmentation = np.full((3, 3, 3), value)
    remarks = Promises(clicks, manager).keep(segmentation, IDENTITY, probabilities)
    assert (np.delete(segmentation.ravel(), 13) == value).all()
    return int(segmentation[1, 1, 1]), len(remarks)


def click(index, positive):
    return Click(index, (1, 1, 1), positive)


@pytest.mark.parametrize(
    ("manager", "clicks", "value", "expected"),
    [
        (LABELS, [click(0, True)], 1, (1, 0)),
        (LABELS, [click(0, True)], 2, (1, 1)),
        (LABELS, [click(0, False)], 2, (2, 0)),
        (LABELS, [click(0, False)], 1, (0, 1)),
        (LABELS, [click(0, False), click(1, True)], 0, (2, 1)),
        (REGIONS, [click(0, True)], 3, (3, 0)),
        (REGIONS, [click(0, True)], 0, (1, 1)),
        (REGIONS, [click(0, True), click(1, True)], 0, (2, 1)),
        (REGIONS, [click(0, True), click(1, False)], 3, (1, 1)),
        (REGIONS, [click(2, False), click(1, True)], 3, (2, 1)),
    ],
)
def test_the_clicked_voxel_gets_a_label_that_keeps_all_promises(manager, clicks, value, expected):
    assert kept(manager, clicks, value) == expected


@pytest.mark.parametrize(
    ("manager", "clicks"),
    [
        (LABELS, [click(0, True), click(0, False)]),
        (LABELS, [click(0, True), click(1, True)]),
        (REGIONS, [click(0, False), click(2, True)]),
    ],
)
def test_contradictions_are_refused(manager, clicks):
    with pytest.raises(UserError, match=r"voxel \(1, 1, 1\) .* contradict"):
        Promises(clicks, manager)


def test_probabilities_agree():
    probabilities = np.full((3, 3, 3, 3), 0.2)
    kept(LABELS, [click(1, True)], 0, probabilities)
    assert probabilities[:, 1, 1, 1].tolist() == [0, 0, 1] and (probabilities == 0.2).sum() == 78
    kept(REGIONS, [click(1, True)], 0, probabilities)
    assert probabilities[:, 1, 1, 1].tolist() == [1, 1, 0]


def test_voxels_of_the_file_are_found_in_the_readers_array():
    flipped = np.diag([1.0, 1.0, -1.0, 1.0])
    flipped[2, 3] = 2
    geometry = ImageGeometry(np.eye(4), np.eye(4), flipped, (3, 3, 3), (3, 3, 3))
    segmentation = np.zeros((3, 3, 3), int)
    Promises([Click(0, (0, 1, 2), True)], LABELS).keep(segmentation, geometry)
    assert np.argwhere(segmentation).tolist() == [[0, 1, 0]]
