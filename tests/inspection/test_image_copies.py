from msam_nn.inspection.image_copies import identical_images, leaking_folds


def test_groups_by_channel(measured):
    cases = [
        measured("a", hashes=("x", "p")),
        measured("b", hashes=("x", "p")),
        measured("c", hashes=("y", "p")),
        measured("d", hashes=("p", "q")),  # the same voxels in another channel are another image
    ]
    assert identical_images(cases) == {("a", "b"): [0], ("a", "b", "c"): [1]}


def test_constant_channels_are_no_copies(measured):
    assert identical_images([measured("a", hashes=(None,)), measured("b", hashes=(None,))]) == {}


def test_folds_that_leak():
    folds = [
        {"train": ["a", "c"], "val": ["b", "d"]},  # a is b
        {"train": ["c", "d"], "val": ["a", "b"]},
        {"train": ["a", "b", "c"], "val": ["c", "d"]},  # c on both sides
    ]
    assert leaking_folds([("a", "b")], folds) == {0: [("a", "b")], 2: [("c", "c")]}
