import torch

from msam_nn.prompts import (
    AutomaticPrompts,
    CarefulClicks,
    Recorder,
    SimulatedClicks,
    foreground,
)


def masks_of(*voxels, k=1, value=5.0):
    masks = torch.full((1, k, 3, 3, 3), -1.0)
    for c, z, y, x in voxels:
        masks[0, c, z, y, x] = value
    return masks


def test_foreground_is_above_zero():
    predicted = foreground(masks_of((0, 1, 1, 1)), exclusive=True)
    assert predicted.sum() == 1 and predicted[0, 0, 1, 1, 1]


def test_exclusive_classes_compete_and_regions_do_not():
    masks = masks_of((0, 1, 1, 1), k=2)
    masks[0, 1, 1, 1, 1] = 7.0
    assert foreground(masks, exclusive=True)[0, :, 1, 1, 1].tolist() == [False, True]
    assert foreground(masks, exclusive=False)[0, :, 1, 1, 1].tolist() == [True, True]


def test_automatic_prompts_lie_in_the_network_s_own_masks():
    source = AutomaticPrompts()
    assert source(0, None) is None
    points, labels = source(1, masks_of((0, 2, 0, 1), k=2))
    assert points[0, 0, 0].tolist() == [2, 0, 1] and labels[0].tolist() == [[1], [-1]]


def test_a_recorder_gives_what_its_source_gives_and_remembers():
    recorder, masks = Recorder(AutomaticPrompts()), masks_of((0, 2, 0, 1), k=2)
    first, second = recorder(0, None), recorder(1, masks)
    assert first is None and second.points[0, 0, 0].tolist() == [2, 0, 1]
    assert recorder.learned[0] == (None, None)
    assert recorder.learned[1][0] is masks and recorder.learned[1][1] is second
    recorder = Recorder(AutomaticPrompts(), silent=range(1))
    assert recorder(0, masks) is not None and recorder(1, masks) is not None and len(recorder.learned) == 1


def test_automatic_prompts_of_exclusive_classes_and_of_regions():
    masks = masks_of((0, 1, 1, 1), k=2)
    masks[0, 1, 1, 1, 1] = 7.0
    assert AutomaticPrompts()(1, masks).labels[0].tolist() == [[-1], [1]]
    assert AutomaticPrompts(exclusive=False)(1, masks).labels[0].tolist() == [[1], [1]]


def test_first_click_lies_on_the_target():
    target = masks_of((0, 2, 0, 1)) > 0
    points, labels = SimulatedClicks(target)(0, None)
    assert points[0, 0, 0].tolist() == [2, 0, 1] and labels.item() == 1


def test_later_clicks_lie_on_the_error():
    target = masks_of((0, 2, 0, 1), (0, 1, 1, 1)) > 0
    source = SimulatedClicks(target)
    points, labels = source(1, masks_of((0, 2, 0, 1)))
    assert points[0, 0, 0].tolist() == [1, 1, 1] and labels.item() == 1
    points, labels = source(1, masks_of((0, 2, 0, 1), (0, 1, 1, 1), (0, 0, 0, 0)))
    assert points[0, 0, 0].tolist() == [0, 0, 0] and labels.item() == 0


def test_a_perfect_mask_gets_no_click():
    target = masks_of((0, 2, 0, 1)) > 0
    assert SimulatedClicks(target)(1, masks_of((0, 2, 0, 1))).labels.item() == -1


def test_an_empty_target_gets_no_click_at_first():
    assert SimulatedClicks(masks_of() > 0)(0, None).labels.item() == -1


def test_no_click_before_the_first_one():
    source = SimulatedClicks(masks_of((0, 2, 0, 1)) > 0, first_click=2)
    assert source(0, None) is None and source(1, masks_of()) is None
    assert source(2, masks_of()).labels.item() == 1


def test_the_ignore_label_is_never_clicked():
    target = masks_of((0, 2, 0, 1), (0, 1, 1, 1)) > 0
    valid = torch.ones(1, 1, 3, 3, 3, dtype=torch.bool)
    valid[0, 0, 2, 0, 1] = False
    source = SimulatedClicks(target, valid=valid)
    assert {tuple(source(0, None).points.flatten().tolist()) for _ in range(20)} == {(1, 1, 1)}


def test_central_clicks():
    target = torch.zeros(1, 1, 9, 9, 9, dtype=torch.bool)
    target[..., 1:8, 1:8, 1:8] = True
    points, labels = SimulatedClicks(target, p_central=1.0)(0, None)
    assert points[0, 0, 0].tolist() == [4, 4, 4] and labels.item() == 1
    drawn = [SimulatedClicks(target, p_central=0.0)(0, None).points.tolist() for _ in range(5)]
    assert any(points != [[[[4, 4, 4]]]] for points in drawn)


def test_careful_clicks_fall_in_the_centre_of_the_largest_error_every_time():
    """A cube of which one half was found, and two voxels elsewhere."""
    target = torch.zeros(1, 1, 9, 9, 18, dtype=torch.bool)
    target[..., 1:8, 1:8, 1:15] = True
    target[..., 0, 0, 16:] = True
    found = torch.where(torch.arange(18) < 8, target, False).float() - 0.5
    for _ in range(3):
        points, labels = CarefulClicks(target)(0, found)
        assert points[0, 0, 0].tolist() == [4, 4, 11] and labels.item() == 1


def test_careful_clicks_tell_depth_in_mm():
    """A plate of one by seven by seven voxels and a cube of three at its side: by voxels the cube is deeper."""
    target = torch.zeros(1, 1, 9, 9, 12, dtype=torch.bool)
    target[..., 4, 1:8, 1:8] = True
    target[..., 3:6, 3:6, 8:11] = True
    assert CarefulClicks(target)(0, None).points[0, 0, 0].tolist() == [4, 4, 9]
    assert CarefulClicks(target, spacing=(5.0, 1.0, 1.0))(0, None).points[0, 0, 0].tolist() == [4, 4, 4]


def test_the_user_sees_corrected_masks():
    """The network overlooks the click in the middle of a row; its correction covers the neighbours, not the ends."""
    target = masks_of((0, 1, 1, 1)) > 0
    source = SimulatedClicks(target, reach=(0.1, 0.1, 0.1))
    assert source(0, None).labels.item() == 1
    assert source(1, masks_of()).labels.item() == -1
    assert SimulatedClicks(target)(1, masks_of()).labels.item() == 1
    wide = SimulatedClicks(target, reach=(0.1, 0.1, 2.0))
    wide(0, None)
    points, labels = wide(1, masks_of())
    assert labels.item() == 0 and points[0, 0, 0].tolist() in ([1, 1, 0], [1, 1, 2])
