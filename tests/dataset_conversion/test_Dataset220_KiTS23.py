"""KiTS23 in its published tree, as regions."""

import json

from dataset_conversion.Dataset220_KiTS23 import main


def test_published_tree(tree, check):
    kits = tree("dataset/case_{:05d}/imaging", "dataset/case_{:05d}/segmentation", (0, 1, 2, 3), first=400)
    folder = check(main, kits, "case_{:05d}", "Dataset220_KiTS23")
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["labels"] == {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    assert declared["regions_class_order"] == [1, 3, 2]
