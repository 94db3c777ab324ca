"""KiTS19 in its published tree: masks up to case 209, the later cases become test cases."""

import json

import pytest

from dataset_conversion.Dataset064_KiTS19 import main

IMAGE, MASK = "data/case_{:05d}/imaging", "data/case_{:05d}/segmentation"
ALL, TUMOUR = {"background": 0, "kidney": 1, "tumour": 2}, {"background": 0, "tumour": 1}


@pytest.mark.parametrize(
    "task, name, labels", [("all", "Dataset064_KiTS19", ALL), ("tumour", "Dataset564_KiTS19Tumour", TUMOUR)]
)
def test_published_tree(tree, check, task, name, labels):
    kits = tree(IMAGE, MASK, (0, 1, 2), first=196)
    assert max(kits.kinds) == 209
    kits.write_test_image(210, IMAGE)
    kits.write_test_image(299, IMAGE)
    (kits.root / "data" / "kits.json").write_text("[]")
    folder = check(main, kits, "case_{:05d}", name, "--task", task, n_test=2)
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["labels"] == labels and declared["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
