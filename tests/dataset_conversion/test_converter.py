"""All or nothing, with one process or several, and nnU-Net's variables as they were."""

import os
from dataclasses import replace
from functools import partial

import pytest

from dataset_conversion import converter
from dataset_conversion.converter import convert
from dataset_conversion.Dataset029_LiTS import ALL as LITS
from dataset_conversion.Dataset220_KiTS23 import DATASET as KITS
from msam_nn.errors import UserError


@pytest.fixture
def lits(tree):
    made = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    made.write(("sound", "also sound", "undeclared label"))
    return made


def test_several_processes_give_the_same(lits, tmp_path):
    reports = [convert(LITS, lits.root, tmp_path / str(n), num_workers=n) for n in (1, 2)]
    assert reports[0].n_training == reports[1].n_training == 2 and reports[0].skipped == reports[1].skipped
    assert list(reports[0].skipped) == [f"lits_{lits.number('undeclared label'):03d}"]
    for file in (tmp_path / "1").rglob("*.nii.gz"):
        assert file.stat().st_size == (tmp_path / "2" / file.relative_to(tmp_path / "1")).stat().st_size


def test_a_process_that_dies_is_one_sentence_and_leaves_nothing(lits, tmp_path):
    deadly = replace(LITS, write_mask=partial(os.execlp, "false"))
    with pytest.raises(UserError, match="A worker died.*--num-workers"):
        convert(deadly, lits.root, tmp_path / "raw", num_workers=2)
    assert [f.name for f in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError("no space left on device")])
def test_failure_leaves_what_was_there(lits, tmp_path, monkeypatch, failure):
    folder = tmp_path / "raw" / "Dataset029_LiTS"
    folder.mkdir(parents=True)
    (folder / "old").touch()

    def fail(*_):
        raise failure

    monkeypatch.setattr(converter, "_declare", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        convert(LITS, lits.root, folder, force=True)
    assert list(folder.parent.iterdir()) == [folder] and [f.name for f in folder.iterdir()] == ["old"]


def test_nothing_sound_is_an_error(tree, tmp_path):
    broken = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    broken.write(("NaN voxels", "missing mask"))
    broken.write_test_image(0, "test-volume-{}")
    with pytest.raises(UserError, match="no sound training case.*lits_.*NaN or infinite"):
        convert(LITS, broken.root, tmp_path / "raw")
    with pytest.raises(UserError, match="none of the expected files .dataset/case_00000/imaging"):
        convert(KITS, broken.root, tmp_path / "raw")
    with pytest.raises(UserError, match="is not a folder"):
        convert(KITS, tmp_path / "nowhere", tmp_path / "raw")
    assert [f.name for f in tmp_path.iterdir()] == ["source"]


def test_nnunets_variables_stay(tree, tmp_path, monkeypatch):
    kits = tree("case_{:05d}/imaging", "case_{:05d}/segmentation", (0, 1, 2, 3))
    kits.write(("sound",))
    monkeypatch.setenv("nnUNet_raw", "/mine")
    monkeypatch.delenv("nnUNet_results", raising=False)
    convert(KITS, kits.root, tmp_path / "raw" / "Dataset220_KiTS23")
    assert os.environ["nnUNet_raw"] == "/mine" and "nnUNet_results" not in os.environ
