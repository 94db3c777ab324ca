"""What each prompt says it changed, redo, drawings, and images beside each other."""

import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.inference.prompting import history
from msam_nn.inference.prompting.clicked_masks import MASK_LOGIT
from msam_nn.inference.prompting.clicks import Click, correction_heights, honour_clicks

from ..fake_network import growing_predictor

SHAPE = (16, 30, 80)
ROD = ((6, 9), (5, 8), (2, 75))


def bright(*boxes, shape=SHAPE):
    image = torch.zeros(1, *shape)
    for box in boxes:
        image[(0, *(slice(*bounds) for bounds in box))] = 1
    return image


@pytest.fixture
def prompted():
    return growing_predictor(num_classes=2).open_image(bright(ROD))


ACTS = {
    "click": lambda p: p.add_points([Click(0, (7, 6, 40), True)]),
    "overlooked click": lambda p: p.add_points([Click(1, (2, 25, 10), True)]),
    "negative click": lambda p: p.add_points([Click(0, (7, 6, 40), False)]),
    "box": lambda p: p.add_box(1, ((4, 12), (3, 10), (10, 60))),
    "flat box": lambda p: p.add_box(0, ((7, 8), (4, 9), (10, 30)), through=0),
    "drawing": lambda p: p.add_drawing(0, ((7, 8), (6, 7), (20, 24)), torch.ones(1, 1, 4).bool(), True, 0),
    "erased": lambda p: p.add_drawing(0, ((7, 8), (6, 7), (20, 24)), torch.ones(1, 1, 4).bool(), False, 0),
    "mask": lambda p: p.set_mask(1, bright(((0, 4), (0, 4), (0, 4)))[0]),
    "refined": lambda p: p.refine_mask(1, ((4, 12), (3, 10), (10, 60))),
}


def test_a_network_that_corrects_around_clicks_refines_nothing_without_one(prompted, monkeypatch):
    monkeypatch.setattr(prompted.network, "has_initial_masks", True)
    assert ACTS["refined"](prompted) is None and not prompted.can_undo


def test_nothing_changes_outside_the_box_that_is_told_and_redo_is_exact(prompted):
    states, boxes = [prompted.masks()], []
    for act in ACTS.values():
        boxes.append(act(prompted))
        states.append(prompted.masks())
    steps = list(zip(states, boxes, states[1:], strict=False))
    for before, box, after in steps:
        assert_equal_outside(before, after, box)
    for before, _, after in reversed(steps):
        assert_equal_outside(before, after, prompted.undo())
        assert torch.equal(prompted.masks(), before)
    assert not prompted.can_undo
    for before, _, after in steps:
        assert_equal_outside(before, after, prompted.redo())
        assert torch.equal(prompted.masks(), after)
    with pytest.raises(UserError, match="nothing to redo"):
        prompted.redo()


def assert_equal_outside(before, after, box):
    differs = (before != after).any(0)
    if box is not None:
        differs[tuple(slice(*bounds) for bounds in box)] = False
    assert not differs.any()


def test_a_part_has_the_logits_of_the_whole(prompted):
    for act in list(ACTS.values())[:3]:
        act(prompted)
    box = ((1, 15), (4, 28), (8, 41))
    part = tuple(slice(*bounds) for bounds in box)
    torch.testing.assert_close(prompted.masks(box), prompted.masks()[(slice(None), *part)], atol=1e-5, rtol=0)


def test_the_networks_own_masks_have_no_corrections(prompted):
    prompted.add_points([Click(1, (2, 25, 10), True)])
    honoured = prompted.masks()
    prompted.honours_clicks = False
    own = prompted.masks()
    assert honoured[1, 2, 25, 10] > 0 > own[1, 2, 25, 10]
    own.zero_()
    prompted.honours_clicks = True
    assert torch.equal(prompted.masks(), honoured)


def test_corrections_of_a_part_are_those_of_the_whole():
    masks = torch.randn(2, 20, 20, 20, generator=torch.Generator().manual_seed(2))
    clicks = [
        Click(0, (5, 5, 5), True),
        Click(1, (7, 6, 5), True),
        Click(0, (6, 6, 6), False),
        Click(0, (18, 2, 3), True),
    ]
    options = {"sigma": (2.0, 2.0, 3.0), "exclusive": True}
    heights = correction_heights(masks, clicks, **options)
    whole = honour_clicks(masks.clone(), clicks, **options)
    part = honour_clicks(masks[:, 4:9, 3:, :8].clone(), clicks, heights=heights, origin=(4, 3, 0), **options)
    torch.testing.assert_close(part, whole[:, 4:9, 3:, :8], atol=1e-5, rtol=0)


def test_a_prompt_after_undo_ends_redo(prompted):
    ACTS["click"](prompted)
    prompted.undo()
    assert prompted.can_redo
    ACTS["box"](prompted)
    assert not prompted.can_redo


def test_a_drawing_is_in_the_mask_prompt(prompted):
    ACTS["drawing"](prompted)
    assert (prompted.masks()[0] > 0)[7, 6, 40]  # the rod was followed
    ACTS["erased"](prompted)
    assert not (prompted.masks()[0] > 0)[7, 6, 22]
    with pytest.raises(UserError, match="leaves the image"):
        prompted.add_drawing(0, ((7, 8), (6, 7), (78, 82)), torch.ones(1, 1, 4).bool(), True, 0)


def test_no_automatic_logit_is_taken_for_a_voxel_without_a_prompt(prompted, monkeypatch):
    halves = torch.linspace(-16, -8, 8 * 128 + 1)  # all numbers of half precision in between
    assert torch.equal(halves.half().float(), halves) and len(halves.half().unique()) == 1025
    start = halves.repeat(100)[: 2 * 16 * 30 * 80].view(2, *SHAPE)
    prompted.start_from(start)
    prompted.max_windows = 1
    seen = []
    monkeypatch.setattr(prompted.network, "resume", lambda masks, clicks=None: seen.append(masks) or masks)
    ACTS["click"](prompted)
    assert len(seen) == 1 and (seen[0] < 0).all()


def test_one_window_does_not_follow_objects(prompted):
    prompted.max_windows = 1
    ACTS["click"](prompted)
    found = (prompted.masks()[0] > 0).nonzero()[:, 2]
    assert found.max() - found.min() < 16 and prompted.unfinished


def test_refining_is_bounded_and_says_where_to_go_on(prompted):
    prompted.max_windows = 2
    prompted.refine_mask(0, ((0, 16), (0, 30), (0, 80)))
    ((index, voxel),) = prompted.unfinished
    assert index == 0 and all(0 <= v < n for v, n in zip(voxel, SHAPE, strict=True))


def test_history_is_bounded_in_bytes(prompted, monkeypatch):
    monkeypatch.setattr(history, "UNDO_BYTES", 1)
    ACTS["click"](prompted)
    ACTS["box"](prompted)
    prompted.undo()
    assert not prompted.can_undo
    prompted.redo()
    prompted.forget_history()
    assert not prompted.can_undo


def test_images_beside_each_other_share_network_and_cache():
    predictor = growing_predictor()
    first, second = (predictor.open_image(bright(ROD)) for _ in range(2))
    first.add_points([Click(0, (7, 6, 40), True)])
    assert first.network is second.network and not (second.masks() > 0).any()
    encoded = predictor.network.encoded
    second.add_points([Click(0, (7, 6, 40), True)])
    assert predictor.network.encoded == 2 * encoded
    first.forget_features()
    assert len(predictor.cache.kept()) == encoded
    second.forget_features()
    assert predictor.cache.bytes == 0


def test_a_reset_during_another_images_prediction_leaves_everything_possible(prompted):
    with torch.inference_mode():  # as the server's, which gives way between windows
        prompted.reset()
    for act in ACTS.values():
        act(prompted)
    while prompted.can_undo:
        prompted.undo()
    assert (prompted.masks() < 0).all()


def test_prompts_inside_a_step_are_one_and_go_with_it_after_an_error(prompted):
    ACTS["click"](prompted)
    before, clicks = prompted.masks(), prompted.clicks
    with pytest.raises(MemoryError), prompted.step():
        ACTS["overlooked click"](prompted)
        ACTS["drawing"](prompted)
        raise MemoryError
    assert torch.equal(prompted.masks(), before) and prompted.clicks == clicks
    with prompted.step():
        ACTS["overlooked click"](prompted)
        ACTS["drawing"](prompted)
    assert not torch.equal(prompted.masks(), before)
    prompted.undo()
    assert torch.equal(prompted.masks(), before) and prompted.clicks == clicks and prompted.can_undo


def test_a_mask_takes_its_voxels_from_other_classes_where_the_image_is_padded():
    """The image is smaller than the window all around. Voxels that are less than half inside are not taken, nor is what
    another class has lost already lost less surely."""
    prompted = growing_predictor(num_classes=2).open_image(bright(((2, 5), (3, 6), (4, 7)), shape=(9, 10, 11)))
    prompted.add_points([Click(1, (3, 4, 5), True)])
    prompted.network.has_initial_masks = True
    before = prompted.masks()
    share = torch.zeros(9, 10, 11)
    share[2, 3:6, 4:7], share[3, 3:6, 4:7], share[7:9, 0, 0] = 1.0, 0.4, 1.0
    prompted.set_mask(0, share)
    masks = prompted.masks()
    assert torch.equal(masks[0], MASK_LOGIT * (2 * share - 1))
    given = share > 0.5
    assert (masks[1][given & (before[1] > -MASK_LOGIT)] == -MASK_LOGIT).all() and (before[1][given] > 0).any()
    kept = ~(given & (before[1] > -MASK_LOGIT))
    assert torch.equal(masks[1][kept], before[1][kept]) and (before[1][given] < -MASK_LOGIT).any()
    region = prompted._crop
    assert prompted._state.as_given(0, region).all() and prompted._offset != (0, 0, 0)
    box, values = prompted._state.given[0]
    assert values.untyped_storage().nbytes() == 4 * values.numel() == 4 * 7 * 6 * 7  # memory of its box alone
    prompted.undo()
    assert torch.equal(prompted.masks(), before)
