"""Label map and network's masks in step, on the network that segments bright objects."""

import numpy as np
import pytest

from msam_nn.inference.prompting.clicks import Click
from msam_nn.server.label_buffer import DECIDED
from msam_nn.server.segmentation import Drawn

from .bright_network import inside
from .conftest import BALL, ROD, SHAPE

CORNER = ((8, 9), (5, 6), (2, 3))
"""One voxel of the rod."""
VOXEL = np.ones((1, 1, 1), bool)


@pytest.fixture
def segmentation(session):
    return session._segmentation


def click(segmentation, box):
    """The box of the network's masks that a click in the middle of ``box`` changes."""
    voxel = tuple((lower + upper) // 2 for lower, upper in box)
    return segmentation.image.add_points([Click(0, voxel, True)])


def test_drawn_voxels_hold_against_the_network_and_go_with_its_step(segmentation):
    segmentation.follow(lambda: click(segmentation, ROD), Drawn(CORNER, VOXEL, 0, positive=False))
    expected = inside(SHAPE, ROD) & ~inside(SHAPE, CORNER)
    assert np.array_equal(segmentation.labels == 1, expected)
    assert segmentation.can_undo(network=True)
    segmentation.undo(network=True)
    assert not segmentation.labels.any() and not segmentation.can_undo(network=True)
    segmentation.redo(network=True)
    assert np.array_equal(segmentation.labels == 1, expected)


def test_a_drawing_without_the_network_is_undone_without_it(segmentation):
    segmentation.follow(lambda: click(segmentation, BALL))
    segmentation.follow(None, Drawn(CORNER, VOXEL, 1, positive=True))
    assert np.array_equal(segmentation.labels == 2, inside(SHAPE, CORNER))
    segmentation.undo(network=False)
    assert np.array_equal(segmentation.labels, inside(SHAPE, BALL))
    assert segmentation.image.can_undo and not segmentation.image.can_redo


def test_what_a_class_started_from_cannot_be_undone(segmentation):
    segmentation.start_class(0, inside(SHAPE, CORNER))
    assert np.array_equal(segmentation.labels == 1, inside(SHAPE, CORNER))
    assert not segmentation.can_undo(network=False)
    segmentation.follow(lambda: click(segmentation, BALL))
    assert segmentation.labels[inside(SHAPE, BALL, CORNER)].all()
    segmentation.undo(network=True)
    assert np.array_equal(segmentation.labels == 1, inside(SHAPE, CORNER))


def test_a_mask_replaces_what_the_network_found_of_its_class(session):
    """A mask elsewhere, and then a click where an object of the class was: it is the network's news again."""
    session.predict_automatically()
    segmentation = session._segmentation
    segmentation.start_class(0, inside(SHAPE, CORNER))
    assert np.array_equal(segmentation._buffer._layers[DECIDED] == 1, inside(SHAPE, CORNER))
    segmentation.follow(lambda: click(segmentation, BALL))
    assert segmentation.labels[inside(SHAPE, BALL)].all()


def test_reset_leaves_the_automatic_prediction(session):
    session.predict_automatically()
    segmentation = session._segmentation
    segmentation.follow(None, Drawn(CORNER, VOXEL, 0, positive=False))
    assert not segmentation.labels[8, 5, 2]
    segmentation.reset()
    assert np.array_equal(segmentation.labels, inside(SHAPE, ROD, BALL))
    assert not segmentation.can_undo(network=False)


def test_slice_by_slice_it_is_the_same(session, monkeypatch):
    monkeypatch.setattr("msam_nn.inference.output_grid.SLAB", 1)
    session.predict_automatically()
    segmentation = session._segmentation
    assert np.array_equal(segmentation.labels, inside(SHAPE, ROD, BALL))
    segmentation.follow(lambda: segmentation.image.add_points([Click(0, tuple((a + b) // 2 for a, b in BALL), False)]))
    assert np.array_equal(segmentation.labels, inside(SHAPE, ROD))
    segmentation.undo(network=True)
    assert np.array_equal(segmentation.labels, inside(SHAPE, ROD, BALL))
    segmentation.start_class(0, inside(SHAPE, CORNER))
    assert np.array_equal(segmentation.labels, inside(SHAPE, CORNER))


def test_an_error_while_labels_are_made_leaves_no_trace_of_the_prompt(segmentation, monkeypatch):
    def no_memory(*arguments):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(segmentation.grid), "labels", no_memory)
        with pytest.raises(MemoryError):
            segmentation.follow(lambda: click(segmentation, ROD))
    assert not segmentation.labels.any() and not segmentation.can_undo(network=True)
    assert (segmentation.image.masks() <= 0).all() and not segmentation.image.clicks
    segmentation.follow(lambda: click(segmentation, ROD))
    assert np.array_equal(segmentation.labels, inside(SHAPE, ROD))
