"""LiTS in its published tree: uncompressed, in two batches, with wrong headers of masks repaired."""

import SimpleITK as sitk

from dataset_conversion.Dataset029_LiTS import main

IMAGE, MASK = "Training Batch 1/volume-{}", "Training Batch 1/segmentation-{}"
REPAIRED = ("geometry mismatch", "shifted mask")


def test_published_tree(tree, check):
    lits = tree(IMAGE, MASK, (0, 1, 2), first=0, ending=".nii")
    lits.write_test_image(0, "test-volume-{}")
    folder = check(main, lits, "lits_{:03d}", "Dataset029_LiTS", n_test=1, repaired=REPAIRED)
    case = f"lits_{lits.number('shifted mask'):03d}"
    image = sitk.ReadImage(str(folder / "imagesTr" / f"{case}_0000.nii.gz"))
    mask = sitk.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz"))
    assert image.GetOrigin() == mask.GetOrigin() == (1.0, -2.0, 3.0)


def test_both_batches_and_the_tumour_alone(tree, run):
    tree(IMAGE, MASK, (0, 1, 2), first=0, ending=".nii").write(("sound",))
    second = tree(IMAGE.replace("1", "2"), MASK.replace("1", "2"), (0, 1, 2), first=28, ending=".nii")
    second.write(("sound",))
    code, folder, printed = run(main, second.root, "--task", "tumour")
    assert code == 0 and folder.name == "Dataset529_LiTSTumour"
    assert sorted(f.name for f in (folder / "labelsTr").iterdir()) == ["lits_000.nii.gz", "lits_028.nii.gz"]
    published = sitk.GetArrayFromImage(sitk.ReadImage(str(second.file(second.mask, 28))))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "lits_028.nii.gz")))
    assert ((published == 2) == stored).all() and stored.any()


def test_broken_training_and_test_cases_of_one_number_are_both_reported(tree, run):
    lits = tree(IMAGE, MASK, (0, 1, 2), first=0, ending=".nii")
    lits.write(("sound", "undeclared label"))
    broken = lits.number("undeclared label")
    lits.write_test_image(broken, "test-volume-{}")
    lits.file("test-volume-{}", broken).write_bytes(b"not an image")
    code, folder, printed = run(main, lits.root)
    assert code == 1 and "skipped 2," in printed.out and not (folder / "imagesTs").exists()
    assert f"  lits_{broken:03d}: " in printed.out and f"  lits_{broken:03d} (test case): " in printed.out
