"""ACDC in its published tree: both frames of a patient stay in the same fold."""

import json

from dataset_conversion.Dataset027_ACDC import NNFORMER_SCORED, NNFORMER_TESTED, main

IMAGE = "database/training/patient{0:03d}/patient{0:03d}_frame01"
VALUES = (0, 1, 2, 3)


def test_published_tree(tree, check):
    acdc = tree(IMAGE, IMAGE + "_gt", VALUES)
    acdc.write_test_image(101, "database/testing/patient{0:03d}/patient{0:03d}_frame01")
    acdc.write_test_image(1, "database/training/patient{0:03d}/patient{0:03d}_4d")
    (acdc.root / "database" / "training" / "patient001" / "Info.cfg").write_text("ED: 1\nES: 12\n")
    folder = check(main, acdc, "patient{:03d}_frame01", "Dataset027_ACDC", n_test=1)
    assert len(json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))) == 5


def test_frames_of_a_patient_stay_together(tree, run):
    kinds = ("sound", "also sound", "plain", "empty mask")
    for frame in ("frame01", "frame12"):
        place = IMAGE.replace("frame01", frame)
        tree(place, place + "_gt", VALUES).write(kinds)
        tree(place, place + "_gt", VALUES, first=50).write(kinds)
    code, folder, printed = run(main, tree(IMAGE, IMAGE, VALUES).root)
    folds = json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))
    assert code == 0 and f"folds are in {folder / 'splits_final.json'}" in printed.out
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(
        f"patient{n:03d}_frame{f}" for n in (1, 2, 3, 4, 50, 51, 52, 53) for f in ("01", "12")
    )
    for fold in folds:
        patients = {part: {case.split("_")[0] for case in fold[part]} for part in ("train", "val")}
        assert not patients["train"] & patients["val"] and len(fold["train"]) + len(fold["val"]) == 16


def test_the_split_of_a_paper(tree, run):
    acdc = tree(IMAGE, IMAGE + "_gt", VALUES, first=87)
    acdc.write(("sound", "also sound", "plain"))
    code, folder, printed = run(main, acdc.root, "--split", "nnformer", name="Dataset027_ACDC")
    (fold,) = json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))
    assert code == 0 and fold == {"train": ["patient087_frame01"], "val": ["patient089_frame01"]}  # 88 is for the test
    assert "97 of 100 are not in the data set (patient001, patient002," in printed.out
    assert len(NNFORMER_SCORED) == 10 and len(NNFORMER_TESTED) == 20
    assert not set(NNFORMER_SCORED) & set(NNFORMER_TESTED)
