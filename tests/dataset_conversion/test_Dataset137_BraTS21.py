"""BraTS21 in its published tree: four sequences, three regions."""

import json

import SimpleITK as sitk

from dataset_conversion.Dataset137_BraTS21 import main

CASE = "RSNA_ASNR_MICCAI_BraTS2021_TrainingData/BraTS2021_{0:05d}/BraTS2021_{0:05d}_"
SEQUENCES = ("t1", "t1ce", "t2", "flair")


def test_published_tree(tree, check):
    brats = tree([CASE + sequence for sequence in SEQUENCES], CASE + "seg", (0, 1, 2, 4))
    folder = check(main, brats, "BraTS2021_{:05d}", "Dataset137_BraTS21")
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["regions_class_order"] == [1, 2, 3]
    published = sitk.GetArrayFromImage(sitk.ReadImage(str(brats.file(CASE + "seg", 1))))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "BraTS2021_00001.nii.gz")))
    # whole tumour: every value; core: without oedema (2); enhancing: 4
    for region, values in {"whole tumor": (1, 2, 4), "tumor core": (1, 4), "enhancing tumor": (4,)}.items():
        inside = sum(stored == v for v in declared["labels"][region])
        assert (inside == sum(published == v for v in values)).all()
    flair = sitk.GetArrayFromImage(sitk.ReadImage(str(brats.file(CASE + "flair", 1))))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "imagesTr" / "BraTS2021_00001_0003.nii.gz")))
    assert declared["channel_names"]["3"] == "Flair" and (flair == stored).all()


def test_a_missing_sequence_is_named(tree, run):
    brats = tree([CASE + sequence for sequence in SEQUENCES], CASE + "seg", (0, 1, 2, 4))
    brats.write(("sound", "also sound"))
    brats.file(CASE + "t1ce", 2).unlink()
    code, _, printed = run(main, brats.root)
    assert code == 1 and "BraTS2021_00002: missing image (T1ce)" in printed.out
