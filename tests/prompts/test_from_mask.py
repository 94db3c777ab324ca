import numpy as np

from msam_nn.prompts.from_mask import bounds, centre, instances, objects


def two_objects():
    mask = np.zeros((6, 10, 12), int)
    mask[1:4, 2:7, 3:10] = 1
    mask[5, 9, 11] = 1
    return mask


def test_one_object_per_component():
    found = list(objects(two_objects() == 1))
    assert [bounds(place) for _, place in found] == [(1, 4, 2, 7, 3, 10), (5, 6, 9, 10, 11, 12)]
    assert [int(piece.sum()) for piece, _ in found] == [105, 1]


def test_components_touch_by_corners():
    mask = np.zeros((4, 4, 4), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert len(list(objects(mask))) == 1


def test_the_centre_is_the_deepest_voxel_in_mm():
    piece, place = next(objects(two_objects() == 1))
    assert centre(piece, place, (1, 1, 1)) == (2, 4, 6)  # 2 voxels deep, as are others around it
    angle = np.zeros((6, 10, 12), bool)
    angle[1:5, 2, 3] = angle[1, 2:6, 3] = True
    piece, place = next(objects(angle))
    assert centre(piece, place, (1, 1, 1)) == (1, 3, 3)
    assert centre(piece, place, (5, 1, 1)) == (2, 2, 3)  # the same by voxels, and nearer to the middle in mm


def test_small_objects_are_left_out():
    assert len(list(objects(two_objects() == 1, min_voxels=2))) == 1
    assert len(list(instances(two_objects(), min_voxels=107))) == 0


def test_instances_go_by_value_connected_or_not():
    labels = two_objects()
    labels[2, 3, 3:10] = 4
    found = list(instances(labels))
    assert [bounds(place) for _, place in found] == [(1, 6, 2, 10, 3, 12), (2, 3, 3, 4, 3, 10)]
    assert int(found[0][0].sum()) == 99


def test_an_empty_mask_has_no_objects():
    assert list(objects(np.zeros((3, 3, 3), bool))) == list(instances(np.zeros((3, 3, 3), int))) == []
