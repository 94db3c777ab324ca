"""Generated trees with published names, one broken case of each kind, and what must become of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

SHAPE = (6, 7, 8)
SPACING = (0.8, 0.9, 2.5)
BROKEN = {
    "missing mask": r"missing mask",
    "geometry mismatch": r"geometry mismatch: .*spacing",
    "shape mismatch": r"geometry mismatch: .*voxels",
    "shifted mask": r"geometry mismatch: .*3 mm off",
    "non-integer label": r"non-integer labels",
    "undeclared label": r"labels that are not declared: \[77\]",
    "4D image": r"is 4D, not 3D",
    "NaN voxels": r"NaN or infinite voxels",
    "unreadable image": r"cannot be read",
    "duplicate case id": r"duplicate case id, more than one image",
}
SOUND, EMPTY = ("sound", "also sound", "plain"), "empty mask"


def write_volume(file, voxels, spacing=SPACING, origin=(1.0, -2.0, 3.0)):
    """Write ``(z, y, x)`` or ``(t, z, y, x)`` voxels."""
    image = sitk.GetImageFromArray(voxels, isVector=False)
    extra = voxels.ndim - 3
    image.SetSpacing((*spacing, *[1.0] * extra))
    image.SetOrigin((*origin, *[0.0] * extra))
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(file))


class Tree:
    """Cases numbered from ``first`` in published places: format strings of a number, without the file ending."""

    def __init__(self, root: Path, images, mask, values, *, first=1, ending=".nii.gz"):
        self.root, self.images, self.mask, self.values, self.ending = root, images, mask, values, ending
        self.kinds = dict(enumerate((*SOUND, EMPTY, *BROKEN), start=first))
        self.rng = np.random.default_rng(0)

    def number(self, kind):
        return next(n for n, k in self.kinds.items() if k == kind)

    def image_voxels(self):
        return self.rng.normal(size=SHAPE).astype(np.float32)

    def mask_voxels(self):
        voxels = np.zeros(SHAPE, np.uint8)
        voxels[1:5, 2:6, 3] = self.rng.choice(self.values, size=(4, 4))
        voxels[0].flat[: len(self.values)] = self.values
        return voxels

    def file(self, place, number, ending=None):
        return self.root / (place.format(number) + (ending or self.ending))

    def write_test_image(self, number, *places):
        for place in places:
            write_volume(self.file(place, number), self.image_voxels())

    def write(self, kinds=None):
        """Write the sound cases, the one with an empty mask and the broken ones, or only these ``kinds``."""
        for number, kind in self.kinds.items():
            if kinds is None or kind in kinds:
                self._write_images(number, kind)
                if kind != "missing mask":
                    self._write_mask(number, kind)

    def _write_images(self, number, kind):
        plain = self.ending == ".nii.gz" and kind == "plain"
        for place in self.images:
            write_volume(self.file(place, number, ".nii" if plain else None), self.image_voxels())
        last = self.file(self.images[-1], number)
        if kind == "4D image":
            write_volume(last, np.zeros((2, *SHAPE), np.float32))
        if kind == "unreadable image":
            last.write_bytes(b"not an image")
        if kind == "NaN voxels":
            voxels = self.image_voxels()
            voxels[2, 3, 4] = np.nan
            write_volume(last, voxels)
        if kind == "duplicate case id":
            other = ".nii" if self.ending == ".nii.gz" else ".nii.gz"
            write_volume(self.file(self.images[-1], number, other), self.image_voxels())

    def _write_mask(self, number, kind):
        voxels, geometry = self.mask_voxels(), {}
        if kind == EMPTY:
            voxels[:] = 0
        if kind == "geometry mismatch":
            geometry = {"spacing": (1.0, 1.0, 1.0)}
        if kind == "shifted mask":
            geometry = {"origin": (1.0, 1.0, 3.0)}
        if kind == "shape mismatch":
            voxels = voxels[:-1]
        if kind == "non-integer label":
            voxels = voxels.astype(np.float32)
            voxels[0, 0, 0] = 0.5
        if kind == "undeclared label":
            voxels[0, 0, 0] = 77
        write_volume(self.file(self.mask, number), voxels, **geometry)


@pytest.fixture
def tree(tmp_path):
    """Make a :class:`Tree` in a new folder."""

    def make(images, mask, values, **options):
        return Tree(tmp_path / "source", [images] if isinstance(images, str) else images, mask, values, **options)

    return make


@pytest.fixture
def run(tmp_path, capsys):
    """Run a script's ``main`` on a tree: its exit code, the data set's folder and what was printed."""

    def call(main, source, *options, name=None):
        raw = tmp_path / "raw"
        raw.mkdir(exist_ok=True)
        code = main(["-i", str(source), "-o", str(raw), "--num-workers", "1", *options])
        folders = [f for f in raw.iterdir() if name is None or f.name == name]
        assert len(folders) <= 1
        return code, folders[0] if folders else None, capsys.readouterr()

    return call


@pytest.fixture
def check(run):
    """Convert a tree with everything in it, and check what every conversion has in common.

    Returns:
        the folder of the data set.
    """

    def call(main, tree, case_name, dataset_name, *options, n_test=0, repaired=()):
        tree.write()
        code, folder, printed = run(main, tree.root, *options, name=dataset_name)
        assert code == 1 and folder.name == dataset_name, printed.err
        _check_report(tree, case_name, printed.out, repaired)
        sound = {case_name.format(tree.number(kind)) for kind in (*SOUND, EMPTY, *repaired)}
        _check_files(folder, sound, len(tree.images), n_test)
        _check_with_nnunet(folder)
        return folder

    return call


def _check_report(tree, case_name, out, repaired):
    for kind, reason in BROKEN.items():
        line = rf"(?m)^  {re.escape(case_name.format(tree.number(kind)))}: .*{reason}"
        assert (re.search(line, out) is None) == (kind in repaired), f"{kind}: {out}"
    assert f"skipped {len(BROKEN) - len(repaired)}," in out
    assert f"noted {case_name.format(tree.number(EMPTY))}: empty mask, kept" in out


def _check_files(folder, sound, n_channels, n_test):
    assert {f.name for f in folder.iterdir()} <= {
        "imagesTr",
        "labelsTr",
        "imagesTs",
        "dataset.json",
        "splits_final.json",
    }
    images = {f"{case}_{channel:04d}.nii.gz" for case in sound for channel in range(n_channels)}
    assert {f.name for f in (folder / "imagesTr").iterdir()} == images
    assert {f.name for f in (folder / "labelsTr").iterdir()} == {f"{case}.nii.gz" for case in sound}
    assert not any(f.is_symlink() for f in folder.rglob("*"))
    assert (len(list((folder / "imagesTs").iterdir())) if n_test else 0) == n_test * n_channels
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["numTraining"] == len(sound) and declared["name"] == folder.name
    assert declared["licence"] and declared["reference"] and declared["file_ending"] == ".nii.gz"


def _check_with_nnunet(folder):
    """What ``nnUNetv2_plan_and_preprocess --verify_dataset_integrity`` checks, without its pool of processes."""
    from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases, verify_labels
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    labels = LabelManager(declared["labels"], declared.get("regions_class_order")).all_labels
    assert labels == list(range(len(labels)))
    found = set()
    for case in get_filenames_of_train_images_and_targets(str(folder), declared).values():
        reader = determine_reader_writer_from_dataset_json(declared, case["images"][0], verbose=False)
        assert verify_labels(case["label"], reader, labels)
        assert check_cases(case["images"], case["label"], len(declared["channel_names"]), reader)
        found |= set(np.unique(reader().read_seg(case["label"])[0]).astype(int))
    assert found == set(labels)
