import torch

from msam_nn.trainers.targets import split_targets


def label_map(*values):
    return torch.tensor(values, dtype=torch.int16).view(1, 1, 1, 1, -1)


def test_labels_become_one_mask_each():
    target = label_map(0, 1, 2, 2)
    masks, valid, loss = split_targets(target, num_classes=2, has_regions=False, ignore_label=None)
    assert masks[0, :, 0, 0].tolist() == [[False, True, False, False], [False, False, True, True]]
    assert valid is None
    assert loss is target


def test_ignore_label_is_no_class_and_not_valid():
    masks, valid, loss = split_targets(label_map(0, 1, 2), num_classes=1, has_regions=False, ignore_label=2)
    assert masks[0, :, 0, 0].tolist() == [[False, True, False]]
    assert valid[0, 0, 0, 0].tolist() == [True, True, False]
    assert loss.flatten().tolist() == [0, 1, 2]


def test_a_subset_of_classes_merges_the_rest_into_background():
    target = label_map(0, 1, 2, 3, 4)
    subset = torch.tensor([1, 2])
    masks, _, loss = split_targets(target, num_classes=3, has_regions=False, ignore_label=4, classes=subset)
    assert loss.flatten().tolist() == [0, 0, 1, 2, 4]
    assert loss.dtype == target.dtype
    assert masks[0, :, 0, 0].tolist() == [[False, False, True, False, False], [False, False, False, True, False]]


def test_regions_keep_their_ignore_mask_last():
    target = torch.zeros(1, 3, 1, 1, 3, dtype=torch.int16)
    target[0, 0, 0, 0] = torch.tensor([1, 1, 0])
    target[0, 1, 0, 0] = torch.tensor([1, 0, 0])
    target[0, 2, 0, 0] = torch.tensor([0, 0, 1])
    masks, valid, loss = split_targets(target, num_classes=2, has_regions=True, ignore_label=3)
    assert masks.shape[1] == 2 and masks.dtype == torch.bool
    assert valid.flatten().tolist() == [True, True, False]
    assert loss is target
    subset = split_targets(target, num_classes=2, has_regions=True, ignore_label=3, classes=torch.tensor([1]))
    assert subset.masks.flatten().tolist() == [True, False, False]
    assert subset.loss[0, :, 0, 0].tolist() == [[1, 0, 0], [0, 0, 1]]
