"""Networks that correct masks: a click begins with the object it is on, and does nothing where nothing is wrong."""

import pytest
import torch

from msam_nn.inference.prompting.clicks import Click

from ..fake_network import CorrectingNetwork, growing_predictor

SHAPE = (16, 24, 60)
ROD, BALL, OTHER = ((6, 9), (5, 8), (2, 50)), ((6, 10), (14, 18), (2, 6)), ((12, 14), (5, 8), (2, 6))
"""Two objects of the first class, the rod longer than a window of 16, and one of the second."""

ON_ROD, ON_BALL, NOWHERE = (7, 6, 8), (7, 15, 4), (3, 20, 30)


def inside(box):
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[tuple(slice(*bounds) for bounds in box)] = True
    return mask


@pytest.fixture
def network():
    return CorrectingNetwork(2)


@pytest.fixture
def prompted(network):
    image = inside(ROD) + inside(BALL) + 2.0 * inside(OTHER)
    return growing_predictor(network=lambda _: network).open_image(image[None].float())


def found(prompted, class_index=0):
    return prompted.masks()[class_index] > 0


def test_a_click_on_nothing_yet_takes_the_object_it_is_on_through_all_windows(prompted, network):
    prompted.add_points([Click(0, ON_ROD, True)])
    assert torch.equal(found(prompted), inside(ROD)) and not found(prompted, 1).any()
    assert network.stages == []  # nothing was wrong with it
    prompted.add_points([Click(0, ON_BALL, True)])
    assert torch.equal(found(prompted), inside(ROD) | inside(BALL)) and network.stages == []


def test_a_click_beside_all_objects_is_followed_by_the_network_and_takes_no_other_object_along(prompted, network):
    """8 exp(-d) - 4 is above 0 up to a distance of ln 2: the clicked voxel alone."""
    prompted.add_points([Click(0, (7, 11, 4), True)])
    assert found(prompted).nonzero().tolist() == [[7, 11, 4]] and len(network.stages) == 1


def test_a_click_on_the_object_of_another_class_is_an_error_to_correct(prompted, network):
    prompted.add_points([Click(0, (13, 6, 4), True)])
    assert len(network.stages) == 1 and found(prompted)[13, 6, 4] and not found(prompted, 1).any()


def test_a_click_that_is_right_already_changes_nothing_and_holds_later(prompted, network):
    for start in (
        None,
        torch.where(inside(ROD), 4.0, -4.0).expand(2, *SHAPE) * torch.tensor([1, 0.5]).view(2, 1, 1, 1),
    ):
        prompted.start_from(start)
        prompted.add_points([Click(0, ON_ROD, True)])
        before = prompted.masks()
        prompted.add_points([Click(0, (7, 6, 20), True)])
        prompted.add_points([Click(0, NOWHERE, False)])
        assert torch.equal(prompted.masks(), before) and network.stages == []
        assert len(prompted.clicks) == 3
        prompted.add_points([Click(0, (7, 6, 21), False)])  # a voxel beside it
        assert len(network.stages) == 1 and found(prompted)[7, 6, 20] and not found(prompted)[7, 6, 21]
        network.stages.clear()


def test_a_flat_box_takes_the_object_in_its_slice_through_all_windows_and_no_other(prompted, network):
    prompted.add_box(0, ((6, 9), (4, 9), (25, 26)), through=2)
    assert torch.equal(found(prompted), inside(ROD)) and network.stages == []
    prompted.reset()
    prompted.add_box(0, ((6, 9), (4, 9), (25, 26)))
    assert found(prompted).sum() == 3 * 3


def test_an_object_reaches_the_sides_of_its_box_unless_the_network_is_sure(prompted):
    box = ((6, 9), (5, 8), (40, 54))
    prompted.add_box(0, box)
    assert torch.equal(found(prompted), inside(((6, 9), (5, 8), (40, 50))))  # -4 is not raised by more than 4
    start = torch.where(inside(ROD), 4.0, -2.0).expand(2, *SHAPE) * torch.tensor([1, 0.5]).view(2, 1, 1, 1)
    prompted.start_from(start)
    prompted.add_box(0, box)
    assert found(prompted)[:, :, 52].any() and not (found(prompted) & ~inside(ROD) & ~inside(box)).any()
    prompted.undo()
    assert torch.equal(prompted.masks(), start)


def test_a_negative_click_leaves_unknown_objects_unknown(prompted, network):
    prompted.add_points([Click(0, ON_ROD, True)])
    prompted.add_points([Click(0, ON_ROD, False)])
    assert len(network.stages) == 1 and not found(prompted)[inside(BALL)].any()
    prompted.add_points([Click(0, ON_BALL, True)])
    assert found(prompted)[inside(BALL)].all()


def test_a_click_after_a_box_adds_nothing_elsewhere(prompted, network):
    """Voxels outside the box are not known; they were taken for undecided, and whatever a click added made them
    foreground."""
    box = ((5, 10), (4, 9), (2, 14))
    prompted.add_box(0, box)
    assert torch.equal(found(prompted), inside(ROD) & inside(box)) and network.stages == []
    prompted.add_points([Click(0, (10, 6, 8), True)])
    assert len(network.stages) == 1 and not found(prompted)[:, 11:].any()


def test_what_is_wrong_of_a_drawing_is_clicked_in_its_middle_until_nothing_is(prompted, network):
    """8 exp(-d) - 4 is above 0 for the clicked voxel alone, and two clicks lift a voxel between them; then the drawing
    holds in the logits, too."""
    drawn = torch.ones(1, 1, 7, dtype=torch.bool)
    prompted.add_drawing(0, ((3, 4), (20, 21), (30, 37)), drawn, True, through=0)
    assert [click.voxel for click in prompted.clicks][0] == (3, 20, 33)
    assert 3 <= len(network.stages) == len(prompted.clicks) <= 7 and all(label for _, label in network.stages)
    prompted.honours_clicks = False
    assert found(prompted)[3, 20, 30:37].all()


def test_a_drawing_in_a_slice_that_lies_between_two_of_the_networks_is_clicked_in_one(prompted, network):
    drawn = torch.zeros(2, 1, 7, dtype=torch.bool)
    drawn[1] = True
    prompted.add_drawing(0, ((3, 5), (20, 21), (30, 37)), drawn, True, through=0)
    assert prompted.clicks[0].voxel == (4, 20, 33)
    drawn[0, :, :3] = True
    prompted.reset()
    prompted.add_drawing(0, ((3, 5), (20, 21), (30, 37)), drawn, True, through=0)
    assert {click.voxel[0] for click in prompted.clicks} == {4}
    prompted.honours_clicks = False
    assert found(prompted)[3, 20, 30:33].all() and found(prompted)[4, 20, 30:37].all()


def test_nothing_drawn_changes_nothing(prompted):
    assert prompted.add_drawing(0, ((3, 4), (4, 5), (4, 5)), torch.zeros(1, 1, 1, dtype=torch.bool), True) is None
    assert not prompted.can_undo


def test_a_drawing_that_is_right_asks_nothing(prompted, network):
    drawn = torch.ones(1, 1, 6, dtype=torch.bool)
    prompted.add_drawing(0, ((7, 8), (6, 7), (4, 10)), drawn, True, through=0)
    assert torch.equal(found(prompted), inside(ROD)) and len(prompted.clicks) == 1 and network.stages == []
    prompted.add_drawing(0, ((7, 8), (6, 7), (4, 10)), drawn, True, through=0)
    prompted.add_drawing(0, ((1, 2), (6, 7), (4, 10)), drawn, False, through=0)
    assert len(prompted.clicks) == 1 and network.stages == []


def test_a_wrong_piece_is_as_deep_as_its_slice_shows(prompted):
    """Of a drawn square with a tail the middle of the square is clicked, not the middle of everything."""
    drawn = torch.zeros(1, 5, 12, dtype=torch.bool)
    drawn[0, :, :5] = drawn[0, 2] = True
    prompted.add_drawing(0, ((3, 4), (15, 20), (30, 42)), drawn, True, through=0)
    assert prompted.clicks[0].voxel == (3, 17, 32)


def test_one_click_leads_to_what_was_wrongly_included(prompted, network):
    prompted.add_points([Click(0, (7, 6, 40), True)])
    drawn = torch.ones(1, 3, 9, dtype=torch.bool)
    prompted.add_drawing(0, ((7, 8), (5, 8), (10, 19)), drawn, False, through=0)
    assert len(network.stages) == 1 and prompted.clicks[1:] == [Click(0, (7, 6, 14), False)]
    assert not found(prompted)[7, 5:8, 10:19].any() and found(prompted)[7, 6, 30]


def test_what_is_erased_through_several_slices_is_gone_and_nothing_else(prompted, network):
    prompted.add_points([Click(0, (7, 6, 40), True)])
    prompted.add_drawing(0, ((0, 16), (0, 24), (0, 20)), torch.ones(16, 24, 20, dtype=torch.bool), False)
    assert torch.equal(found(prompted), inside(((6, 9), (5, 8), (20, 50)))) and network.stages == []
    prompted.undo()
    assert torch.equal(found(prompted), inside(ROD))


def test_a_mask_from_elsewhere_is_corrected_as_the_networks_own_and_stays_where_it_is_not(
    prompted, network, monkeypatch
):
    """The rod without its half from 20 on, and a stray block: the network is shown its own 4 and -4 where the mask
    agrees with it, and 1 on the mask's side where it does not. A click adds 8 exp(-distance): at a distance of 2, 1.08,
    it lifts -1, and to a distance of 4.38 it moves a voxel by 0.1; 5 and -5 stay elsewhere."""
    stray = ((2, 5), (18, 22), (12, 16))
    given = inside(((6, 9), (5, 8), (2, 20))) | inside(stray)
    prompted.set_mask(0, given.float())
    shown = []
    monkeypatch.setattr(network, "resume", lambda masks, clicks=None: shown.append(masks) or masks)
    prompted.add_points([Click(0, (7, 6, 26), True)])
    assert set(shown[0].unique().tolist()) <= {4, -4, 1, -1}
    assert found(prompted)[7, 6, 20:40].nonzero().flatten().tolist() == [4, 5, 6, 7, 8]
    assert found(prompted)[given].all()
    before = torch.where(given, 5.0, -5.0)
    moved = (prompted.masks()[0] != before).nonzero() - torch.tensor([7, 6, 26])
    distances = moved.float().norm(dim=1)
    assert 4 < distances.max() < 4.38
    prompted.undo()
    assert torch.equal(prompted.masks()[0], before)
    prompted.undo()
    prompted.add_points([Click(0, ON_ROD, True)])
    assert torch.equal(found(prompted), inside(ROD)), "a mask that was undone says nothing"


def test_a_click_that_is_right_changes_nothing_however_unsure_the_mask(prompted, network):
    unsure = torch.stack([torch.where(inside(ROD), 0.3, -0.3), torch.full(SHAPE, -4.0)])
    prompted.start_from(unsure)
    prompted.add_points([Click(0, ON_ROD, True), Click(0, NOWHERE, False), Click(1, ON_ROD, False)])
    assert torch.equal(prompted.masks(), unsure) and network.stages == []


@pytest.mark.parametrize("given", [ROD, BALL, None], ids=["the rod is given", "the ball", "nothing"])
def test_a_click_on_an_object_apart_from_a_given_mask_takes_it_as_if_there_were_none(prompted, network, given):
    """The rod is longer than a window."""
    mask = torch.zeros(SHAPE) if given is None else inside(given).float()
    prompted.set_mask(0, mask)
    clicked, taken = (ON_BALL, BALL) if given == ROD else (ON_ROD, ROD)
    prompted.add_points([Click(0, clicked, True)])
    assert torch.equal(found(prompted), inside(taken) | (mask > 0)) and network.stages == []
    prompted.undo()
    assert torch.equal(found(prompted), mask > 0)


@pytest.fixture
def stages(prompted, monkeypatch):
    """Arguments of all stages that run: the window, the class, its mask, the newest click, the earlier ones."""
    run, refiner = [], prompted._refiner
    refine = refiner.refine
    monkeypatch.setattr(refiner, "refine", lambda *arguments: run.append(arguments) or refine(*arguments))
    return run


def test_after_a_reset_windows_are_chosen_anew(prompted, stages):
    """A window that was encoded before the reset would do for the last click, too."""
    near, click = Click(0, (7, 15, 30), True), Click(0, (7, 15, 33), True)
    prompted.add_points([near, click])
    prompted.reset()
    prompted.add_points([click])
    first, again, fresh = (start for start, *_ in stages)
    assert first == again != fresh


def test_the_newest_click_is_not_among_the_earlier_ones(prompted, stages):
    clicks = [Click(0, (7, 15, 30), True), Click(0, (7, 15, 33), True)]
    prompted.add_points(clicks)
    assert [arguments[3:] for arguments in stages] == [(clicks[0], []), (clicks[1], clicks[:1])]


def test_undo_and_redo_bring_back_which_mask_was_given(prompted):
    one, other = inside(ROD), inside(BALL)
    region = tuple(slice(0, n) for n in SHAPE)
    prompted.set_mask(0, one.float())
    prompted.set_mask(0, other.float())
    state = prompted._state
    assert state.as_given(0, region).all()
    prompted.undo()
    assert state.as_given(0, region).all() and torch.equal(found(prompted), one)
    prompted.undo()
    assert not state.as_given(0, region).any()
    prompted.redo()
    prompted.redo()
    assert state.as_given(0, region).all() and torch.equal(found(prompted), other)


def test_a_mask_of_another_class_leaves_the_first_as_given_along_their_border(prompted):
    share = torch.zeros(SHAPE)
    share[6:9, 5:8, 2:50], share[6:9, 5:8, 25] = 1, 0.3
    prompted.set_mask(0, share * (torch.arange(SHAPE[2]) <= 25))
    prompted.set_mask(1, (share * (torch.arange(SHAPE[2]) > 25)).masked_fill(share == share[7, 6, 25], 0.7))
    assert prompted.masks()[0, 7, 6, 25] == -5
    assert prompted._state.as_given(0, tuple(slice(0, n) for n in SHAPE)).all()


def test_a_box_leaves_a_given_mask_as_it_was_but_at_its_sides(prompted):
    prompted.set_mask(0, inside(ROD).float())
    before = prompted.masks()
    prompted.add_box(0, ((5, 10), (4, 9), (2, 50)))
    assert torch.equal(prompted.masks(), before)


def test_sides_of_a_box_that_no_window_saw_raise_nothing():
    shape = (40, 40, 40)
    image = torch.zeros(1, *shape)
    image[0, 18:22, 18:22, 18:22] = 1
    prompted = growing_predictor(network=CorrectingNetwork).open_image(image)
    for edge in (20, 28, 36):
        prompted.reset()
        first = 20 - edge // 2
        prompted.add_box(0, ((first, first + edge),) * 3)
        assert torch.equal(found(prompted), image[0] > 0)
