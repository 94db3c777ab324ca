import numpy as np
import pytest
import torch

from msam_nn.inference.prompting.windows import Windows, bounding_box, enclosing, overlap, seeded_objects

WINDOWS = Windows((8, 8, 8), (8, 20, 40))


def test_bounding_boxes():
    mask = np.zeros((4, 5, 6), bool)
    assert bounding_box(mask) is None
    mask[1, 2, 3] = mask[2, 4, 0] = True
    assert bounding_box(mask) == ((1, 3), (2, 5), (0, 4))
    assert bounding_box(torch.from_numpy(mask)) == ((1, 3), (2, 5), (0, 4))


def test_what_encloses_boxes():
    assert enclosing([((0, 1), (5, 6), (2, 3)), None, ((4, 9), (0, 2), (2, 3))]) == ((0, 9), (0, 6), (2, 3))
    assert enclosing([None, None]) is None and enclosing([]) is None


def test_what_boxes_share():
    assert overlap(((0, 4), (2, 9), (1, 2)), ((2, 9), (0, 3), (1, 2))) == ((2, 4), (2, 3), (1, 2))
    assert overlap(((0, 4),) * 3, ((4, 9),) * 3) is None
    assert overlap(((0, 4),) * 3, ((2, 2),) * 3) is None


def test_windows_are_moved_into_the_image():
    assert WINDOWS.around((4, 10, 20)) == (0, 6, 16)
    assert WINDOWS.around((0, 0, 39)) == (0, 0, 32)


def test_a_known_window_is_used_again_where_it_sees_enough():
    known = {(0, 6, 16), (0, 6, 0)}
    assert WINDOWS.best((4, 10, 18), known) == (0, 6, 16)  # 2.5 voxels, 0.31 of the edge, from its left side
    assert WINDOWS.best((4, 10, 17), known) == (0, 6, 13)  # 1.5 voxels: too near
    assert WINDOWS.best((4, 10, 0), known) == (0, 6, 0)  # the image ends there


def test_the_most_comfortable_known_window_wins():
    assert WINDOWS.best((4, 10, 20), {(0, 6, 15), (0, 6, 16), (0, 6, 18)}) == (0, 6, 16)


def test_weight_fades_only_towards_sides_where_the_image_goes_on():
    weight = WINDOWS.weight((0, 6, 0), ramp=0.25)
    assert weight[:, 4, 0].tolist() == [1] * 8  # z: the window is all of the image
    assert weight[0, 4].tolist() == [1, 1, 1, 1, 1, 1, 0.75, 0.25]  # x ends at the image on the left
    assert weight[0, :, 0].tolist() == [0.25, 0.75, 1, 1, 1, 1, 0.75, 0.25]


def exits(new, old=None, seed=(4, 4, 4), start=(0, 6, 16)):
    old = torch.full((8, 8, 8), -1.0) if old is None else old
    volume = torch.full(WINDOWS.shape, -1.0)
    volume[WINDOWS.region(start)] = new
    seeds = torch.zeros(8, 8, 8, dtype=torch.bool)
    seeds[seed] = True
    return WINDOWS.exits(start, new, old, volume, seeds)


def rod():
    new = torch.full((8, 8, 8), -1.0)
    new[4, 4, 2:] = 1
    return new


def test_an_object_leaves_where_it_touches_a_side():
    assert exits(rod()) == [(4, 10, 23)]


def test_two_branches_leave_twice():
    new = rod()
    new[4, 1:5, 2] = 1
    new[4, 1, 2:] = 1
    assert sorted(exits(new)) == [(4, 7, 23), (4, 10, 23)]


@pytest.mark.parametrize("reason", ["other object", "was there before", "image ends"])
def test_what_does_not_count_as_leaving(reason):
    new = rod()
    if reason == "other object":
        assert exits(new, seed=(0, 0, 0)) == []
    elif reason == "was there before":
        assert exits(new, old=new) == []
    else:
        assert exits(new, start=(0, 6, 32)) == []


def test_objects_with_a_seed():
    mask = torch.tensor([1, 1, 0, 1, 0, 1, 1]).bool().view(1, 1, 7)
    seeds = torch.tensor([0, 1, 1, 0, 0, 0, 1]).bool().view(1, 1, 7)
    assert seeded_objects(mask, seeds).flatten().tolist() == [True, True, False, False, False, True, True]
    assert not seeded_objects(mask, torch.zeros_like(seeds)).any()
