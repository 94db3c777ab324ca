"""Synapse BTCV in its published tree: 13 organs, and the usual 8 with their split."""

import json

import SimpleITK as sitk

from dataset_conversion.Dataset017_BTCV import PUBLISHED, SCORED, main

IMAGE, MASK = "RawData/Training/img/img{:04d}", "RawData/Training/label/label{:04d}"


def test_thirteen_organs(tree, check):
    btcv = tree(IMAGE, MASK, range(14))
    btcv.write_test_image(61, "RawData/Testing/img/img{:04d}")
    folder = check(main, btcv, "img{:04d}", "Dataset017_BTCV", n_test=1)
    assert len(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]) == 14
    assert not (folder / "splits_final.json").exists()


def test_usual_eight_with_their_split(tree, check):
    btcv = tree(IMAGE, MASK, range(14))
    folder = check(main, btcv, "img{:04d}", "Dataset517_BTCV8", "--task", "8organs")
    published = sitk.GetArrayFromImage(sitk.ReadImage(str(btcv.root / "RawData/Training/label/label0001.nii.gz")))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "img0001.nii.gz")))
    for value, organ in {8: 1, 4: 2, 1: 3, 3: 4, 2: 5, 6: 6, 11: 7, 7: 8, 5: 0, 13: 0}.items():
        assert ((stored == organ) | (published != value)).all()
    (fold,) = json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))
    assert fold == {"train": [], "val": ["img0001", "img0002", "img0003", "img0004"]}
    assert len(SCORED) == 12 and len(PUBLISHED) == 30 and SCORED < PUBLISHED


def test_the_usual_split_of_thirteen_organs(tree, run):
    btcv = tree(IMAGE, MASK, range(14), first=4)
    btcv.write(("sound", "plain"))
    code, folder, printed = run(main, btcv.root, "--split", "transunet", name="Dataset017_BTCV")
    (fold,) = json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))
    assert code == 0 and fold == {"train": ["img0006"], "val": ["img0004"]}
    assert "28 of 30 are not in the data set (img0001, img0002, img0003, img0005, img0007, ...)" in printed.out
