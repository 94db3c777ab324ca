"""The phantom script: its options reach the data set, and wrong input ends with a sentence and exit code 2."""

import json

import pytest
import SimpleITK as sitk

from dataset_conversion.Dataset900_TumourPhantom import DATASET_NAME, SMALL_LESIONS_NAME, main


def test_writes_what_was_asked_for(tmp_path, capsys):
    asked = ["-o", str(tmp_path), "--cases", "2", "--test-cases", "1", "--channels", "2", "--regions", "--seed", "5"]
    assert main(asked) == 0
    declared = json.loads((tmp_path / DATASET_NAME / "dataset.json").read_text(encoding="utf-8"))
    assert declared["numTraining"] == 2 and declared["phantom_seed"] == 5
    assert list(declared["channel_names"].values()) == ["CT", "PET"] and "tumour core" in declared["labels"]
    assert len(list((tmp_path / DATASET_NAME / "labelsTs").iterdir())) == 1
    assert str(tmp_path / DATASET_NAME) in capsys.readouterr().out


def test_small_lesions_are_a_data_set_of_their_own(tmp_path):
    assert main(["-o", str(tmp_path), "--cases", "1", "--test-cases", "0", "--small-lesions"]) == 0
    volume = sitk.ReadImage(str(tmp_path / SMALL_LESIONS_NAME / "labelsTr" / "phantom_000.nii.gz"))
    assert volume.GetSpacing() == (1.0, 1.0, 1.0)


def test_default_folder_is_nnunet_raw(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert main(["--cases", "1", "--test-cases", "0"]) == 0
    assert (tmp_path / DATASET_NAME / "dataset.json").is_file()


def test_no_folder_at_all(monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert main([]) == 2
    assert "nnUNet_raw" in capsys.readouterr().err


@pytest.mark.parametrize(
    "existing, arguments, message",
    [
        (DATASET_NAME, [], "--force"),
        ("Dataset900_Other", ["--force"], "Dataset900_Other"),
        (None, ["--cases", "0"], "At least 1 training"),
        (None, ["--seed", "-1"], "negative"),
    ],
)
def test_wrong_input(tmp_path, capsys, existing, arguments, message):
    if existing:
        (tmp_path / existing).mkdir()
    assert main(["-o", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_force_replaces(tmp_path):
    (tmp_path / DATASET_NAME).mkdir()
    assert main(["-o", str(tmp_path), "--cases", "1", "--test-cases", "0", "--force"]) == 0


def test_unknown_channel_count_exits_with_2(tmp_path):
    with pytest.raises(SystemExit) as error:
        main(["-o", str(tmp_path), "--channels", "3"])
    assert error.value.code == 2
