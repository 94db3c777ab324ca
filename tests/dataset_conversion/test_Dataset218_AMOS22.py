"""AMOS22 in its published tree: task 1 takes the CT cases, task 2 all."""

import json

from dataset_conversion.Dataset218_AMOS22 import main

IMAGE, MASK = "amos22/imagesTr/amos_{:04d}", "amos22/labelsTr/amos_{:04d}"


def add_the_other_parts(amos):
    """A CT case for validation, an MR case for training, and a CT and an MR test case."""
    validation = ("amos22/imagesVa/amos_0008", "amos22/labelsVa/amos_0008")
    mr = ("amos22/imagesTr/amos_0507", "amos22/labelsTr/amos_0507")
    for image, mask in (validation, mr):
        part = type(amos)(amos.root, [image], mask, amos.values)
        part.write(("sound",))
    amos.write_test_image(411, "amos22/imagesTs/amos_{:04d}")
    amos.write_test_image(551, "amos22/imagesTs/amos_{:04d}")


def names(folder):
    return sorted(f.name for f in folder.iterdir())


def test_published_tree(tree, check):
    amos = tree(IMAGE, MASK, range(16), first=300)
    amos.write_test_image(411, "amos22/imagesTs/amos_{:04d}")
    folder = check(main, amos, "amos_{:04d}", "Dataset218_AMOS22", n_test=1)
    labels = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    assert len(labels) == 16 and labels["liver"] == 6 and labels["prostate/uterus"] == 15


def test_tasks(tree, run):
    amos = tree(IMAGE, MASK, range(16), first=1)
    amos.write(("sound",))
    add_the_other_parts(amos)
    code, folder, _ = run(main, amos.root, name="Dataset218_AMOS22")
    assert code == 0 and names(folder / "labelsTr") == ["amos_0001.nii.gz", "amos_0008.nii.gz"]
    assert names(folder / "imagesTs") == ["amos_0411_0000.nii.gz"]
    code, folder, _ = run(main, amos.root, "--task", "2", name="Dataset219_AMOS22CTMR")
    assert code == 0 and names(folder / "labelsTr") == ["amos_0001.nii.gz", "amos_0008.nii.gz", "amos_0507.nii.gz"]
    assert names(folder / "imagesTs") == ["amos_0411_0000.nii.gz", "amos_0551_0000.nii.gz"]
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 3
