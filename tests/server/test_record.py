"""What was prompted, undone, and what a prompt file says of it."""

import numpy as np
import pytest

from msam_nn.inference.prompt_file import ClassPrompts
from msam_nn.server.record import INITIAL_MASK, Prompt, PromptLog

FIRST, SECOND = (Prompt("organ", points=[(1, 2, n, 1)]) for n in (3, 4))


@pytest.fixture
def log():
    log = PromptLog()
    log.add(FIRST)
    log.add(SECOND)
    return log


def test_undone_prompts_are_not_told_until_they_are_redone(log):
    assert log.undo() is SECOND and log.last is FIRST and log.can_redo
    assert log.file("case").cases["case"]["organ"].points == ((1, 2, 3, 1),)
    assert log.redo() is SECOND and log.last is SECOND and not log.can_redo
    assert log.file("case").cases["case"]["organ"].points == ((1, 2, 3, 1), (1, 2, 4, 1))


def test_a_new_prompt_ends_what_was_undone(log):
    log.undo()
    log.add(FIRST)
    assert not log.can_redo and log.last is FIRST


def test_every_change_has_a_version(log):
    versions = [log.version]
    for change in (log.undo, log.redo, lambda: log.add(FIRST), log.clear):
        change()
        versions.append(log.version)
    assert versions == sorted(set(versions))


def test_only_a_log_of_nothing_is_empty(log):
    log.undo()
    log.undo()
    assert log.last is None and not log.is_empty
    log.clear()
    assert log.is_empty and log.file("case").cases == {"case": {}}
    log.start_from(np.ones((1, 1, 1), bool), "tumour")
    assert not log.is_empty
    (name, given), *others = log.file("case").cases["case"].items()
    assert (name, str(given.mask), others) == ("tumour", INITIAL_MASK, [])
    log.clear()
    assert log.initial_mask is None and log.file("case").cases == {"case": {}}


def test_of_points_on_one_voxel_the_newest_counts():
    log = PromptLog()
    for label in (1, 0):
        log.add(Prompt("organ", points=[(1, 2, 3, label)], boxes=[(0, 1, 0, 1, 0, 1)]))
    assert log.file("case").cases["case"] == {"organ": ClassPrompts(((1, 2, 3, 0),), ((0, 1, 0, 1, 0, 1),) * 2)}
