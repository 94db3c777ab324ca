import numpy as np
import pytest

from msam_nn.inference.prompting import history
from msam_nn.server.label_buffer import LabelBuffer

SHAPE = (4, 5, 6)
BOX = ((1, 3), (1, 4), (2, 5))
WHOLE = tuple((0, n) for n in SHAPE)
CLICK = ((1, 2), (1, 2), (2, 3)), np.ones((1, 1, 1), bool)


def buffer(members=((1,), (2,))):
    return LabelBuffer(SHAPE, members)


def full(label, box=BOX):
    return np.full([upper - lower for lower, upper in box], label)


def test_changes_are_the_smallest_box_and_come_once():
    b = buffer()
    labels = full(0)
    labels[0, 0, 0] = labels[1, 2, 1] = 1
    with b.step():
        b.decide(BOX, labels)
    changes = b.take_changes()
    assert changes.box == ((1, 3), (1, 4), (2, 4)) and changes.labels.sum() == 2
    assert b.take_changes() is None


def test_changes_that_did_not_arrive_are_sent_again():
    b = buffer()
    with b.step():
        b.decide(BOX, full(1))
    changes = b.take_changes()
    b.send_again(changes.box)
    again = b.take_changes()
    assert again.box == changes.box and np.array_equal(again.labels, changes.labels)
    assert b.take_changes() is None


def test_a_given_class_changes_only_where_the_network_changes_its_mind():
    b = buffer()
    mask = np.zeros(SHAPE, bool)
    mask[1, 1, 2] = mask[0, 0, 0] = True
    b.start_class(0, mask)
    b.decide(BOX, full(1), quietly=True)
    assert np.array_equal(b.labels == 1, mask)
    labels = full(1)
    labels[1, 1, 1] = 2  # the only voxel with another label than before
    b.decide(BOX, labels)
    assert b.labels[2, 2, 3] == 2 and (b.labels == 1).sum() == 2


def test_drawings_hold_and_the_newest_counts():
    b = buffer(((1, 2), (2,)))  # regions: whole, core
    b.hold(BOX, full(True), 1, True)
    b.decide(BOX, full(0))
    assert (b.labels == 2).sum() == 18
    b.hold(BOX, full(True), 0, False)
    assert not b.labels.any()
    b.hold(((1, 2), (1, 2), (2, 3)), np.ones((1, 1, 1), bool), 0, True)
    assert b.labels.sum() == 1


def test_a_drawing_that_was_taken_back_follows_the_network_where_it_says_the_opposite():
    b = buffer()
    b.decide(WHOLE, full(1, WHOLE))
    assert b.hold(BOX, full(True), 0, False) is None  # erased; the network follows
    other = ((1, 3), (1, 4), (0, 1))
    b.hold(other, full(True, other), 0, False)
    b.decide(WHOLE, full(0, WHOLE))
    taken_back = b.hold(*CLICK, 0, True)
    labels = full(0, WHOLE)
    labels[:2] = 1
    b.decide(WHOLE, labels, taken_back=taken_back)
    assert (b.labels[1] == 1).sum() == 5 * 6 - 3, "of the drawing beside it nothing is taken back"
    b.decide(WHOLE, full(1, WHOLE))
    assert (b.labels[2] == 0).sum() == 9 + 3, "the rest of the drawing holds"


@pytest.mark.parametrize(("members", "there"), [(((1,), (2,)), True), (((1, 2), (2,)), False)])
def test_what_was_drawn_as_another_class_is_taken_back_where_classes_exclude_each_other(members, there):
    b = buffer(members)
    b.hold(BOX, full(True), 0, True)
    assert (b.hold(*CLICK, 1, True) is not None) is there
    assert b.hold(((3, 4), (0, 1), (0, 1)), np.ones((1, 1, 1), bool), 1, True) is None


def test_another_class_gives_way_to_a_given_one():
    b = buffer()
    b.decide(WHOLE, np.full(SHAPE, 2))
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    b.start_class(0, mask)
    assert (b.labels[0] == 1).all() and (b.labels[1:] == 2).all()
    b.start_class(0, ~mask)
    assert (b.labels[0] == 0).all() and (b.labels[1:] == 1).all()


def test_an_error_leaves_no_half_step():
    b = buffer()
    with pytest.raises(KeyboardInterrupt), b.step():
        b.decide(BOX, full(1))
        raise KeyboardInterrupt
    assert not b.labels.any() and not b.can_undo


def test_history_is_bounded_in_steps_and_bytes(monkeypatch):
    b = buffer()
    for step in range(history.UNDO_STEPS + 5):
        with b.step():
            b.decide(BOX, full(1 + step % 2))
    assert undo_all(b) == history.UNDO_STEPS
    monkeypatch.setattr(history, "UNDO_BYTES", 2 * 3 * 18)
    for step in range(5):
        with b.step():
            b.decide(BOX, full(2 - step % 2))
    assert undo_all(b) == 2
    with b.step():
        b.decide(BOX, full(1))
    assert b.can_undo
    b.forget_history()
    assert not b.can_undo


def undo_all(b):
    undone = 0
    while b.can_undo:
        b.undo()
        undone += 1
    return undone


def test_labels_beyond_127_fit():
    b = LabelBuffer(SHAPE, [(300,)])
    b.decide(BOX, full(300))
    assert b.labels.max() == 300
