import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.inference.prompting.clicked_masks import MASK_LOGIT, ClickedMasks
from msam_nn.inference.prompting.clicks import Click
from msam_nn.networks.decoding.corrections import MARGIN

MIDDLE = (4, 4, 4)
BOX = (slice(2, 4), slice(2, 4), slice(2, 4))
WHOLE = (slice(0, 9),) * 3
ALL = (slice(None), *WHOLE)


def masks(classes: int = 1, exclusive: bool = False) -> ClickedMasks:
    return ClickedMasks(torch.full((classes, 9, 9, 9), -1.0), sigma=(0.5, 0.5, 0.5), exclusive=exclusive)


def whole(m: ClickedMasks) -> torch.Tensor:
    return m.holding(WHOLE)


def test_a_step_is_undone_and_done_again_bit_for_bit():
    m = masks()
    with m.step() as step:
        m.write((0, *BOX), torch.rand(2, 2, 2))
    assert m.changed(step) == ((2, 4), (2, 4), (2, 4))
    after = m.logits[ALL]
    assert m.undo() == ((2, 4), (2, 4), (2, 4)) and (m.logits[ALL] == -1).all() and not m.can_undo
    assert m.redo() == ((2, 4), (2, 4), (2, 4)) and torch.equal(m.logits[ALL], after) and not m.can_redo


def test_an_overlooked_click_holds_and_its_correction_counts_as_changed():
    m = masks()
    with m.step() as step:
        m.clicks.append(Click(0, MIDDLE, True))
    # six standard deviations of half a voxel are three voxels to either side
    assert m.changed(step) == ((1, 8), (1, 8), (1, 8))
    assert whole(m)[(0, *MIDDLE)].item() == pytest.approx(MARGIN) and (m.logits[ALL] == -1).all()
    assert m.undo() == ((1, 8), (1, 8), (1, 8)) and m.clicks == [] and (whole(m) == -1).all()


def test_a_click_that_holds_changes_its_own_voxel_alone():
    m = masks()
    with m.step() as step:
        m.clicks.append(Click(0, MIDDLE, False))
    assert m.changed(step) == ((4, 5), (4, 5), (4, 5))


def test_a_region_is_part_of_the_whole():
    m = masks()
    with m.step() as step:
        m.clicks.append(Click(0, MIDDLE, True))
    m.changed(step)
    assert torch.equal(m.holding(BOX), whole(m)[(slice(None), *BOX)])


@pytest.mark.parametrize(("exclusive", "least"), [(False, MARGIN), (True, 2 + MARGIN)])
def test_classes_that_exclude_each_other_are_beaten_by_a_click(exclusive, least):
    m = masks(2, exclusive)
    m.write((1, *WHOLE), torch.tensor(2.0))
    with m.step() as step:
        m.clicks.append(Click(0, MIDDLE, True))
    m.changed(step)
    assert whole(m)[(0, *MIDDLE)].item() == pytest.approx(least)


def test_an_error_leaves_no_trace():
    m = masks()
    with pytest.raises(MemoryError), m.step():
        m.write((0, *BOX), torch.ones(2, 2, 2))
        m.clicks.append(Click(0, MIDDLE, True))
        m.unfinished.append((0, MIDDLE))
        raise MemoryError
    assert (m.logits[ALL] == -1).all() and m.clicks == m.unfinished == [] and not m.can_undo


def test_what_is_unfinished_goes_and_comes_with_its_step():
    m = masks()
    with m.step() as step:
        m.unfinished.append((0, MIDDLE))
    assert m.changed(step) is None
    m.undo()
    assert m.unfinished == []
    m.redo()
    assert m.unfinished == [(0, MIDDLE)]


def test_nothing_to_undo_or_redo_has_a_sentence():
    m = masks()
    with pytest.raises(UserError, match="nothing to undo"):
        m.undo()
    with pytest.raises(UserError, match="nothing to redo"):
        m.redo()
    with m.step():
        m.write((0, *BOX), torch.ones(2, 2, 2))
    m.forget_history()
    assert not m.can_undo and (m.logits[(0, *BOX)] == 1).all()


@pytest.mark.parametrize(("exclusive", "wins"), [(False, True), (True, False)])
def test_a_label_is_what_the_user_sees(exclusive, wins):
    """A voxel of two classes is the surer one's where they exclude each other; corrections of earlier clicks count."""
    m = masks(classes=2, exclusive=exclusive)
    assert m.has_label(Click(0, MIDDLE, False)) and not m.has_label(Click(0, MIDDLE, True))
    m.write((0, *MIDDLE), torch.tensor(2.0))
    m.write((1, *MIDDLE), torch.tensor(3.0))
    assert m.has_label(Click(0, MIDDLE, True)) == wins and m.has_label(Click(1, MIDDLE, True))
    m.clicks.append(Click(0, MIDDLE, True))
    assert m.has_label(Click(0, MIDDLE, True)) and m.has_label(Click(1, MIDDLE, True)) == (not exclusive)


def test_what_is_as_a_mask_from_elsewhere_gave_it():
    """Logits of 1 to 8 in a box, nothing outside; one voxel was moved since, another was taken away."""
    m = masks(classes=2)
    values = torch.arange(1.0, 9).view(2, 2, 2)
    m.write((0, *WHOLE), torch.tensor(-MASK_LOGIT))
    m.write((0, *BOX), values)
    assert not m.as_given(0, WHOLE).any()
    m.given = {0: (((2, 4),) * 3, values)}
    assert m.as_given(0, WHOLE).all() and not m.as_given(1, WHOLE).any()
    m.write((0, 2, 2, 3), torch.tensor(0.5))
    m.write((0, 3, 3, 3), torch.tensor(-MASK_LOGIT))
    m.write((0, 8, 8, 8), torch.tensor(0.5))
    moved = ~m.as_given(0, WHOLE)
    assert moved.sum() == 2 and moved[2, 2, 3] and moved[8, 8, 8]
    for region in ((slice(2, 3), slice(0, 9), slice(3, 6)), (slice(5, 9), slice(0, 2), slice(0, 9)), BOX):
        assert torch.equal(m.as_given(0, region), ~moved[region])
