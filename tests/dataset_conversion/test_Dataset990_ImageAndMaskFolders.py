"""Anyone's own folders: formats, suffixes, channels, DICOM series, labels, patients."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion.Dataset990_ImageAndMaskFolders import DEFAULT_NAME, grouped_splits, main
from msam_nn.errors import UserError


def read(file):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_two_channels_in_one_folder(tree, check, ending):
    data = tree(["case_{:02d}_ct", "case_{:02d}_pet"], "case_{:02d}_seg", (0, 1), ending=ending)
    suffixes = ("--image-suffix", f"_ct{ending}", "--image-suffix", f"_pet{ending}", "--mask-suffix", f"_seg{ending}")
    named = ("--channel", "CT", "--channel", "PET", "--licence", "CC0", "--reference", "us")
    # the other file of the "duplicate" has another ending and is none of these files
    folder = check(main, data, "case_{:02d}", DEFAULT_NAME, *suffixes, *named, repaired=("duplicate case id",))
    declared = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert declared["channel_names"] == {"0": "CT", "1": "PET"} and declared["labels"]["tumour"] == 1
    assert (declared["licence"], declared["reference"]) == ("CC0", "us")
    assert (read(data.file("case_{:02d}_pet", 1)) == read(folder / "imagesTr" / "case_01_0001.nii.gz")).all()


def test_names_in_upper_and_lower_case_are_the_same_case(tree, run):
    for prefix in ("a", "A"):
        tree(prefix + "{}", prefix + "{}_seg", (0, 1)).write(("sound",))
    data = tree("b{}", "b{}_seg", (0, 1))
    data.write(("sound",))
    code, folder, printed = run(main, data.root, "--image-suffix", ".nii.gz", "--mask-suffix", "_seg.nii.gz")
    assert code == 1 and "A1: duplicate case id, more than one image (CT)" in printed.out
    assert [f.name for f in (folder / "labelsTr").iterdir()] == ["b1.nii.gz"]


def test_own_folder_of_masks_with_equal_names_and_given_labels(tree, run):
    data = tree("images/{}", "masks/{}", (0, 3, 255))
    data.write(("sound",))
    options = ("--masks", str(data.root / "masks"), "--image-suffix", ".nii.gz", "--mask-suffix", ".nii.gz")
    labels = ("--label", "tumour=255", "--label", "organ=3", "--name", "Dataset123_Lung100")
    code, folder, _ = run(main, data.root / "images", *options, *labels)
    assert code == 0 and folder.name == "Dataset123_Lung100"
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"] == {
        "background": 0,
        "tumour": 1,
        "organ": 2,
    }
    published, stored = read(data.file("masks/{}", 1)), read(folder / "labelsTr" / "1.nii.gz")
    assert ((published == 255) == (stored == 1)).all() and ((published == 3) == (stored == 2)).all()


def write_series(folder, voxels, uid):
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(voxels):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.8, 0.9, 2.5))
        tags = {
            "0008|0060": "CT",
            "0008|0018": f"{uid}.{z + 1}",
            "0020|000e": uid,
            "0020|0013": str(z),
            "0020|0032": f"1\\-2\\{3 + 2.5 * z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{uid}.{z:03d}.dcm"))
        writer.Execute(image)


def test_dicom_series(tree, run):
    data = tree("ct/{}", "masks/{}", (0, 1))
    data.write(("sound", "also sound"))
    voxels = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8) - 100
    for n in (1, 2):
        data.file("ct/{}", n).unlink()
        write_series(data.root / "ct" / str(n), voxels, f"1.2.3.{n}")
    write_series(data.root / "ct" / "2", voxels, "1.2.3.9")
    (data.root / "ct" / "3").mkdir()
    data.write(("plain",))
    data.file("ct/{}", 3, ".nii").unlink()
    write_series(data.root / "ct" / "3", voxels, "1.2.3.3")
    (data.root / "ct" / "3" / "1.2.3.3.002.dcm").unlink()
    (data.root / "ct" / "4").mkdir()
    options = ("--masks", str(data.root / "masks"), "--image-suffix", "/", "--mask-suffix", ".nii.gz")
    code, folder, printed = run(main, data.root / "ct", *options)
    assert code == 1 and "2 holds 2 DICOM series, not 1" in printed.out and "4: missing mask" in printed.out
    assert "3 lacks slices, or they are unevenly spaced: 2.5 to 5 mm" in printed.out
    image = sitk.ReadImage(str(folder / "imagesTr" / "1_0000.nii.gz"))
    assert (sitk.GetArrayFromImage(image) == voxels).all()
    assert np.allclose(image.GetSpacing(), (0.8, 0.9, 2.5)) and np.allclose(image.GetOrigin(), (1, -2, 3))


def test_a_folder_for_each_case_and_a_wrong_header(tree, run):
    data = tree("{}/ct", "{}/seg", (0, 1))
    data.write(("shifted mask",))
    suffixes = ("--image-suffix", "/ct.nii.gz", "--mask-suffix", "/seg.nii.gz")
    code, folder, printed = run(main, data.root, *suffixes)
    assert code == 2 and folder is None and "no sound training case" in printed.err
    code, folder, printed = run(main, data.root, *suffixes, "--copy-geometry")
    assert code == 0 and "header disagreed" in printed.out


def test_patients_stay_together(tmp_path):
    for case in [f"p{patient}_scan{scan}" for patient in range(7) for scan in range(3)]:
        (tmp_path / f"{case}.nii.gz").touch()
    folds = grouped_splits(tmp_path, r"^(p\d+)_")
    assert len(folds) == 5 and sorted(c for f in folds for c in f["val"]) == sorted(
        file.name.removesuffix(".nii.gz") for file in tmp_path.iterdir()
    )
    for fold in folds:
        train, val = ({case.split("_")[0] for case in fold[part]} for part in ("train", "val"))
        assert not train & val and len(fold["val"]) == 3 * len(val)
    assert grouped_splits(tmp_path, r"p\d+") == folds
    with pytest.raises(UserError, match="matches nothing in the case name p0_scan0"):
        grouped_splits(tmp_path, "patient")
    with pytest.raises(UserError, match="at least five patients"):
        grouped_splits(tmp_path, "scan.")


def test_too_few_patients_leave_nothing(tree, run):
    data = tree("{}", "{}_seg", (0, 1))
    data.write(("sound",))
    suffixes = ("--image-suffix", ".nii.gz", "--mask-suffix", "_seg.nii.gz")
    code, folder, printed = run(main, data.root, *suffixes, "--patient", r"\d")
    assert code == 2 and folder is None and "at least five patients" in printed.err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--name", "Lung100"], "Dataset123_Name"),
        (["--channel", "CT", "--channel", "PET"], "1 times --image-suffix"),
        (["--image-suffix", ".nii.gz", "--channel", "CT", "--channel", "PET"], "Every suffix"),
        (["--mask-suffix", ".nii.gz"], "Every suffix"),
        (["--label", "tumour=big"], "neither NAME nor NAME=VALUE"),
        (["--label", "tumour=0"], "0 is the background"),
        (["--label", "organ=2", "--label", "tumour"], "its own value"),
    ],
)
def test_wrong_options(tmp_path, run, options, message):
    code, folder, printed = run(main, tmp_path, "--mask-suffix", "_seg.nii.gz", "--image-suffix", ".nii.gz", *options)
    assert code == 2 and folder is None and message in printed.err and printed.err.count("\n") == 1
