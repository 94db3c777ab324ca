import json

import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.cli.main import main


def write(path, array, spacing=(2, 2, 2)):
    path.parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((10, 20, 30))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, -1))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folder(tmp_path):
    """A case with a tumour of two pieces (label 1) and an organ (label 2), and its image."""
    labels = np.zeros((8, 12, 16), np.uint8)
    labels[1:4, 2:5, 3:6] = labels[5:8, 8:11, 9:14] = 1
    labels[0, 0, 0] = 2
    write(tmp_path / "labels" / "a.nii.gz", labels)
    write(tmp_path / "images" / "a_0000.nii.gz", np.random.default_rng(0).normal(size=labels.shape).astype(np.float32))
    return tmp_path


def create(folder, *options):
    assert main(["prompts", "create", str(folder / "labels"), "-o", str(folder / "p.json"), *options]) == 0
    return json.loads((folder / "p.json").read_text(encoding="utf-8"))


def check(folder, *options):
    return main(["prompts", "check", str(folder / "p.json"), "-i", str(folder / "images"), *options])


def test_create_makes_a_prompt_per_object(folder):
    content = create(folder, "--kinds", "points", "boxes")
    assert content == {
        "space": "voxel",
        "a": {
            "1": {"points": [[2, 3, 4, 1], [6, 9, 11, 1]], "boxes": [[1, 4, 2, 5, 3, 6], [5, 8, 8, 11, 9, 14]]},
            "2": {"points": [[0, 0, 0, 1]], "boxes": [[0, 1, 0, 1, 0, 1]]},
        },
    }
    assert set(create(folder, "--min-voxels", "2")["a"]) == {"1"}


def test_create_from_a_mask_that_ends_early(folder, capsys):
    mask = folder / "labels" / "a.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-20])
    assert main(["prompts", "create", str(mask), "-o", str(folder / "p.json")]) == 2
    assert "copy or export it again" in capsys.readouterr().err and not (folder / "p.json").exists()


def test_create_from_a_single_mask_of_another_ending(folder, capsys):
    mask = folder / "liver.nii"
    sitk.WriteImage(sitk.ReadImage(str(folder / "labels" / "a.nii.gz")), str(mask))
    assert main(["prompts", "create", str(mask), "-o", str(folder / "p.json")]) == 2
    assert "--file-ending" in capsys.readouterr().err
    assert main(["prompts", "create", str(mask), "-o", str(folder / "p.json"), "--file-ending", ".nii"]) == 0
    assert set(json.loads((folder / "p.json").read_text(encoding="utf-8"))) == {"space", "liver"}


def test_create_in_world_coordinates_fits_the_image(folder, capsys):
    content = create(folder, "--space", "world", "--kinds", "points", "boxes")
    # x = 10 - 2 * 4, y = 20 + 2 * 3, z = 30 - 2 * 2; the box's edges lie half a voxel out
    assert content["a"]["1"]["points"][0] == [2, 26, 26, 1]
    assert content["a"]["1"]["boxes"][0] == [-1, 5, 23, 29, 23, 29]
    assert check(folder) == 0
    assert "a: 3 points, 3 boxes, 0 masks fit" in capsys.readouterr().out


def test_create_from_instances(folder):
    labels = np.zeros((8, 12, 16), np.uint8)
    labels[1:4, 2:5, 3:6], labels[1:4, 2:5, 6:9] = 7, 9  # two objects that touch
    write(folder / "labels" / "a.nii.gz", labels)
    assert create(folder, "--instances-of", "lesion")["a"] == {"lesion": {"points": [[2, 3, 4, 1], [2, 3, 7, 1]]}}


@pytest.fixture
def region_dataset(folder, monkeypatch):
    """Data set 321 with the labels 1 and 2, as regions, and 3, which is ignored; returns the labels of its case."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(folder / "nnUNet_raw"))
    (folder / "nnUNet_raw" / "Dataset321_Regions").mkdir(parents=True)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "nnUNet_raw" / "Dataset321_Regions" / "dataset.json").write_text(json.dumps(content))
    labels = np.zeros((8, 12, 16), np.uint8)
    labels[1:4, 2:5, 3:8], labels[2, 3, 5], labels[6, 10, 10] = 1, 2, 3
    write(folder / "labels" / "a.nii.gz", labels)
    return labels


def test_create_names_regions_and_leaves_out_what_is_ignored(folder, region_dataset):
    content = create(folder, "-d", "321", "--kinds", "points", "boxes")
    assert content["a"] == {
        "whole": {"points": [[2, 3, 5, 1]], "boxes": [[1, 4, 2, 5, 3, 8]]},
        "core": {"points": [[2, 3, 5, 1]], "boxes": [[2, 3, 3, 4, 5, 6]]},
    }
    assert check(folder, "-d", "321") == 0


def test_create_for_a_data_set_refuses_what_it_does_not_know(folder, region_dataset, capsys):
    arguments = ["prompts", "create", str(folder / "labels"), "-o", str(folder / "p.json"), "-d", "321"]
    assert main([*arguments, "--instances-of", "lesion"]) == 2
    assert "no class lesion; its classes are whole, core" in capsys.readouterr().err
    region_dataset[0, 0, 0] = 7
    write(folder / "labels" / "a.nii.gz", region_dataset)
    assert main(arguments) == 2
    assert "a.nii.gz holds the value 7" in capsys.readouterr().err and not (folder / "p.json").exists()


def test_create_names_the_classes_of_a_data_set_without_regions(folder, nnunet_folders):
    assert create(folder, "-d", "900", "--min-voxels", "2")["a"] == {
        "tumour": {"points": [[2, 3, 4, 1], [6, 9, 11, 1]]}
    }


def test_check_names_what_is_wrong_and_goes_on(folder, capsys):
    cases = {"gone": {}, "a": {"1": {"points": [[8, 0, 0, 1]]}}}
    (folder / "p.json").write_text(json.dumps(cases))
    assert check(folder) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("gone: ") and "no such case" in errors[0]
    assert errors[1].startswith("a: class 1, points 0") and "outside the image" in errors[1]


def test_check_knows_the_classes_of_a_data_set(folder, nnunet_folders, capsys):
    (folder / "p.json").write_text('{"a": {"tumour": {"points": [[1, 1, 1, 1]]}, "organ": {"points": [[1, 1, 1, 1]]}}}')
    assert check(folder) == 0 and check(folder, "-d", "900") == 1
    assert "contradict" in capsys.readouterr().err
    (folder / "p.json").write_text('{"a": {"bone": {"points": [[1, 1, 1, 1]]}}}')
    assert check(folder, "-d", "900") == 1
    assert "its classes are tumour (1), organ (2)" in capsys.readouterr().err


def test_show_draws(folder):
    create(folder, "--kinds", "points", "boxes")
    arguments = ["prompts", "show", str(folder / "p.json"), "-i", str(folder / "images"), "-o", str(folder / "p.png")]
    assert main(arguments) == 0
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")


def test_show_names_a_case_that_is_not_in_the_file(folder, capsys):
    create(folder)
    arguments = ["prompts", "show", str(folder / "p.json"), "-i", str(folder / "images"), "-o", str(folder / "p.png")]
    assert main([*arguments, "--cases", "a", "nope"]) == 2
    assert "p.json has no case nope: it has a." in capsys.readouterr().err and not (folder / "p.png").exists()


def test_an_image_that_is_not_3d_gets_the_words_of_predict(folder, capsys):
    create(folder)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((35, 51), np.float32)), str(folder / "images" / "a_0000.nii.gz"))
    assert check(folder) == 1
    assert "has the shape (51, 35) and is no 3D image" in capsys.readouterr().err


def test_images_without_a_channel_in_their_name(folder, capsys):
    create(folder)
    (folder / "images" / "a_0000.nii.gz").rename(folder / "images" / "a.nii.gz")
    assert check(folder) == 2
    assert "rename a.nii.gz to a_0000.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not valid JSON"), ('{"a": {"1": {"points": [[1, 2, 3]]}}}', "expected 4 numbers")]
)
def test_malformed_files_get_one_sentence(folder, capsys, content, message):
    (folder / "p.json").write_text(content)
    assert check(folder) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_nothing_to_make_prompts_from(folder, capsys):
    (folder / "empty").mkdir()
    assert main(["prompts", "create", str(folder / "empty"), "-o", str(folder / "p.json")]) == 2
    write(folder / "labels" / "a.nii.gz", np.zeros((8, 12, 16), np.uint8))
    assert main(["prompts", "create", str(folder / "labels"), "-o", str(folder / "p.json")]) == 2
    assert "no object" in capsys.readouterr().err and not (folder / "p.json").exists()
