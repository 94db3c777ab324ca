import torch

from msam_nn.trainers.masksam.targets import set_targets


def test_a_target_per_class_and_slice_with_background():
    labels = torch.zeros(1, 1, 2, 4, 4, dtype=torch.int16)
    labels[0, 0, 1, :2] = 2
    targets = set_targets(labels, num_outputs=3, has_regions=False, ignore_label=None)
    assert targets.masks.shape == (1, 2, 3, 4, 4)
    assert targets.present[0].tolist() == [[True, False, False], [True, False, True]]
    assert targets.boxes[0, 1].tolist() == [[0, 0.5, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0.5]]
    assert targets.valid is None and targets.counted.all()


def test_ignored_pixels_belong_to_no_target():
    labels = torch.tensor([[[1, 1, 3, 3]], [[3, 3, 3, 3]]])[None, None]
    targets = set_targets(labels, num_outputs=3, has_regions=False, ignore_label=3)
    assert targets.present[0].tolist() == [[False, True, False], [False, False, False]]
    assert targets.boxes[0, 0, 1].tolist() == [0, 0, 0.5, 1]
    assert targets.valid[0, 0, 0].tolist() == [[True, True, False, False]]
    assert targets.counted.tolist() == [[True, False]]


def test_regions_overlap_and_may_be_absent():
    whole = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    core = torch.tensor([[[0, 1, 0, 0]], [[0, 0, 0, 0]]])
    ignored = torch.tensor([[[0, 1, 0, 0]], [[0, 0, 0, 1]]])
    target = torch.stack([whole, core, ignored])[None].short()
    plain = set_targets(target[:, :2], num_outputs=2, has_regions=True, ignore_label=None)
    assert plain.present[0].tolist() == [[True, True], [False, False]]
    assert plain.boxes[0, 0].tolist() == [[0, 0, 0.5, 1], [0.25, 0, 0.5, 1]]
    partly = set_targets(target, num_outputs=2, has_regions=True, ignore_label=9)
    assert partly.present[0].tolist() == [[True, False], [False, False]]
    assert partly.counted.tolist() == [[True, True]]


def test_a_2d_patch_is_one_slice():
    labels = torch.ones(2, 1, 4, 6, dtype=torch.int16)
    targets = set_targets(labels, num_outputs=2, has_regions=False, ignore_label=None)
    assert targets.masks.shape == (2, 1, 2, 4, 6)
    assert targets.present.tolist() == [[[False, True]]] * 2
