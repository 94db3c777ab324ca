"""Steps on a small array: exact undo and redo, errors, bounds."""

import numpy as np
import pytest

from msam_nn.inference.prompting import history as module
from msam_nn.inference.prompting.history import History


class Owner:
    def __init__(self):
        self.array, self.history = np.zeros(6, int), History()

    def exchange(self, region, values):
        before = self.array[region].copy()
        self.array[region] = values
        return before

    def write(self, region, values):
        self.history.remember(region, self.exchange(region, np.asarray(values)))

    def step(self, *writes):
        with self.history.step(self.exchange):
            for region, values in writes:
                self.write(region, values)


@pytest.fixture
def owner():
    return Owner()


def test_overlapping_writes_are_undone_and_redone_exactly(owner):
    owner.step((slice(0, 4), [1, 2, 3, 4]), (slice(2, 6), [5, 6, 7, 8]))
    owner.step((slice(3, 4), [9]))
    owner.history.undo(owner.exchange)
    assert owner.array.tolist() == [1, 2, 5, 6, 7, 8]
    owner.history.undo(owner.exchange)
    assert owner.array.tolist() == [0] * 6 and not owner.history.can_undo
    owner.history.redo(owner.exchange)
    owner.history.redo(owner.exchange)
    assert owner.array.tolist() == [1, 2, 5, 9, 7, 8] and not owner.history.can_redo


def test_a_new_step_forgets_what_was_undone(owner):
    owner.step((slice(0, 1), [1]))
    owner.history.undo(owner.exchange)
    owner.step((slice(1, 2), [2]))
    assert not owner.history.can_redo and owner.history.can_undo


def test_an_error_leaves_everything_as_it_was(owner):
    owner.step((slice(0, 1), [1]))
    owner.history.undo(owner.exchange)
    with pytest.raises(KeyboardInterrupt), owner.history.step(owner.exchange):
        owner.write(slice(0, 4), [1, 2, 3, 4])
        owner.write(slice(2, 6), [5, 6, 7, 8])
        raise KeyboardInterrupt
    assert owner.array.tolist() == [0] * 6
    assert owner.history.can_redo and not owner.history.can_undo


def test_what_is_written_outside_a_step_stays(owner):
    owner.step((slice(0, 1), [1]))
    owner.write(slice(5, 6), [7])
    owner.history.undo(owner.exchange)
    assert owner.array.tolist() == [0, 0, 0, 0, 0, 7]


def test_bounds_in_steps_and_bytes(owner, monkeypatch):
    for n in range(module.UNDO_STEPS + 5):
        owner.step((slice(0, 2), [n, n]))
    undone = 0
    while owner.history.can_undo:
        owner.history.undo(owner.exchange)
        undone += 1
    assert undone == module.UNDO_STEPS and owner.array[0] == 4
    monkeypatch.setattr(module, "UNDO_BYTES", 2 * owner.array[:2].nbytes)
    for n in range(4):
        owner.step((slice(0, 2), [n, n]))
    owner.history.undo(owner.exchange)
    owner.history.undo(owner.exchange)
    assert owner.array[0] == 1 and not owner.history.can_undo


def test_nothing_to_undo_or_redo(owner):
    with pytest.raises(IndexError):
        owner.history.undo(owner.exchange)
    with pytest.raises(IndexError):
        owner.history.redo(owner.exchange)
