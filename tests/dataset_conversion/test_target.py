"""The data set's folder: given, from the environment, or with a number that is taken."""

import pytest

from dataset_conversion.target import target_folder
from msam_nn.errors import UserError


def test_given_folder_beats_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    assert target_folder(tmp_path, "Dataset064_KiTS19") == tmp_path / "Dataset064_KiTS19"
    assert target_folder(None, "Dataset064_KiTS19").as_posix() == "/elsewhere/Dataset064_KiTS19"
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(UserError, match="nnUNet_raw"):
        target_folder(None, "Dataset064_KiTS19")


def test_numbers_are_unique(tmp_path):
    for name in ("Dataset064_KiTS19", "Dataset640_Other"):
        (tmp_path / name).mkdir()
    target_folder(tmp_path, "Dataset064_KiTS19")
    with pytest.raises(UserError, match="number 640 already"):
        target_folder(tmp_path, "Dataset640_Mine")
