"""msam check, as a user calls it."""

import json
import os
import shutil

import pytest

from msam_nn.cli.main import main
from msam_nn.nnunet_folders import labelled_cases


def check(capsys, *arguments):
    status = main(["check", *map(str, arguments)])
    return status, "".join(capsys.readouterr())


def test_planned_data_set(nnunet_folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text = check(capsys, 900, "--num-workers", 1)
    assert status == 0
    page = (tmp_path / "msam_check_Dataset900_TumourPhantom.html").read_text(encoding="utf-8")
    plans = json.loads(
        (nnunet_folders["nnUNet_preprocessed"] / "Dataset900_TumourPhantom/MSAMPlans.json").read_text(encoding="utf-8")
    )
    assert plans["configurations"]["3d_fullres"]["planning_notes"][0].split(":")[0] in page
    assert "3d_fullres" in page and page.count("<figure>") == 3
    assert "the page is msam_check_Dataset900_TumourPhantom.html" in text
    assert sum(line.startswith("- ") for line in text.splitlines()) == page.count('class="warning"')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("899",), "no data set 899"),
        (("Dataset899_Other",), "no data set Dataset899_Other"),
        (("900", "-p", "OtherPlans"), "OtherPlans.json"),
        (("900", "-c", "3d_cascade"), "no configuration 3d_cascade"),
        (("900", "--num-workers", "0"), "--num-workers takes a number from 1 on"),
        (("900", "-o", "."), "cannot be written"),
        (("900", "-o", "file.txt/page.html"), "cannot be written"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(nnunet_folders, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    status, text = check(capsys, *arguments)
    assert status == 2 and said in text
    assert len(text.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == ["file.txt"]


def test_variable_that_is_not_set(nnunet_folders, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    status, text = check(capsys, 900)
    assert status == 2 and "nnUNet_raw is not set" in text


@pytest.mark.parametrize("declared", [0, "6"])
def test_a_wrong_number_of_cases_is_a_warning(nnunet_folders, tmp_path, monkeypatch, capsys, declared):
    source = nnunet_folders["nnUNet_raw"] / "Dataset900_TumourPhantom"
    shutil.copytree(source, tmp_path / "raw" / source.name)
    file = tmp_path / "raw" / source.name / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"numTraining": declared}))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    labelled_cases.cache_clear()
    status, text = check(capsys, 900, "--num-workers", 1, "-o", tmp_path / "page.html")
    labelled_cases.cache_clear()
    assert status == 0 and f"- dataset.json says numTraining: {json.dumps(declared)}, and there are" in text


def test_only_preprocessed(nnunet_folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    status, text = check(capsys, 900)
    assert status == 2 and "Only raw data sets can be checked" in text
