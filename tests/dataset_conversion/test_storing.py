"""A sound case is written whole, a broken one not at all; nnU-Net's converters get a tree of links."""

from dataclasses import replace

import pytest
import SimpleITK as sitk

from dataset_conversion.Dataset007_Pancreas import TASKS
from dataset_conversion.Dataset029_LiTS import ALL as LITS
from dataset_conversion.Dataset137_BraTS21 import DATASET as BRATS
from dataset_conversion.discovery import find_cases
from dataset_conversion.storing import process_case

PLACES = ("imagesTr/pancreas_{:03d}", "labelsTr/pancreas_{:03d}")

PATIENT = "BraTS2021_{0:05d}/BraTS2021_{0:05d}_"
CASE = ([PATIENT + sequence for sequence in ("t1", "t1ce", "t2", "flair")], PATIENT + "seg")


def process(dataset, tree, folder):
    (case,), _ = find_cases(dataset, tree.root)
    return process_case(case, dataset, folder)


@pytest.mark.parametrize("kind", ["NaN voxels", "undeclared label", "shape mismatch"])
def test_broken_case_leaves_nothing(tree, tmp_path, kind):
    lits = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    lits.write((kind,))
    outcome = process(LITS, lits, tmp_path / "out")
    assert outcome.problem and not (tmp_path / "out").exists()


def test_compressed_files_are_copied_and_plain_ones_packed(tree, tmp_path):
    lits = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    lits.write(("sound",))
    outcome = process(LITS, lits, tmp_path)
    assert outcome.problem is None and outcome.notes == ()
    packed = sitk.ReadImage(str(tmp_path / "imagesTr" / "lits_001_0000.nii.gz"))
    assert sitk.Hash(packed) == sitk.Hash(sitk.ReadImage(str(lits.root / "volume-1.nii")))
    assert packed.GetSpacing() == pytest.approx((0.8, 0.9, 2.5))


def test_links_for_nnunets_converter(tree, tmp_path):
    pancreas = tree(*PLACES, (0, 1, 2))
    pancreas.write(("sound",))
    process(TASKS["all"], pancreas, tmp_path / "all")
    process(TASKS["tumour"], pancreas, tmp_path / "tumour")
    image, mask = "imagesTr/pancreas_001.nii.gz", "labelsTr/pancreas_001.nii.gz"
    assert (tmp_path / "all" / image).resolve() == pancreas.root / image
    assert (tmp_path / "all" / mask).is_symlink() and not (tmp_path / "tumour" / mask).is_symlink()


def test_copies_where_links_are_forbidden(tree, tmp_path, monkeypatch):
    def forbidden(*_):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("pathlib.Path.symlink_to", forbidden)
    pancreas = tree(*PLACES, (0, 1, 2))
    pancreas.write(("sound",))
    process(TASKS["all"], pancreas, tmp_path / "all")
    copy = tmp_path / "all" / "labelsTr" / "pancreas_001.nii.gz"
    assert copy.read_bytes() == (pancreas.root / "labelsTr" / "pancreas_001.nii.gz").read_bytes()


def test_header_of_the_mask_matters_unless_said_otherwise(tree, tmp_path):
    lits = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    lits.write(("shifted mask",))
    strict = process(replace(LITS, copy_geometry=False), lits, tmp_path)
    assert "3 mm off" in strict.problem
    assert "header disagreed" in process(LITS, lits, tmp_path).notes[0]


@pytest.mark.parametrize("dataset, places, values", [(TASKS["all"], PLACES, (0, 1, 2)), (BRATS, CASE, (0, 1, 2, 4))])
def test_repaired_masks_are_written_instead_of_left_to_nnunet(tree, tmp_path, dataset, places, values):
    made = tree(*places, values)
    made.write(("shifted mask",))
    assert "header disagreed" in process(replace(dataset, copy_geometry=True), made, tmp_path / "out").notes[0]
    (mask,) = (file for file in (tmp_path / "out" / "labelsTr").iterdir())
    stored, published = (
        sitk.ReadImage(str(mask)),
        sitk.ReadImage(str(made.file(made.mask, made.number("shifted mask")))),
    )
    assert stored.GetOrigin() == pytest.approx((1, -2, 3)) and published.GetOrigin() == pytest.approx((1, 1, 3))
    pairs = set(zip(sitk.GetArrayViewFromImage(published).flat, sitk.GetArrayViewFromImage(stored).flat, strict=True))
    assert pairs == {(value, dataset.values[value]) for value in values}
