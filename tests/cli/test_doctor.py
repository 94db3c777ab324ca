"""``msam doctor``."""

import pytest

from msam_nn.cli import doctor, main
from msam_nn.registry import LOOKUPS

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for variable in FOLDERS:
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return tmp_path


def test_complete_installation_has_status_0(folders, capsys):
    status = main.main(["doctor"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "Nothing is missing." in printed
    assert "!!" not in printed
    for lookup in LOOKUPS.values():
        for name, target in lookup.classes.items():
            line = next(line for line in printed.splitlines() if name in line.split())
            assert line.endswith(f"{target.split(':')[0]}, by hook")


def test_findings_stand_in_one_column(folders, capsys):
    main.main(["doctor"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ok")]
    column = max(len(line[6:].split()[0]) for line in lines) + 8
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_missing_folder_has_status_1_and_the_command_that_mends_it(folders, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    (folders / "nnUNet_results").rmdir()
    assert main.main(["doctor"]) == 1
    mends = capsys.readouterr().out.split("To mend:")[1]
    assert "export nnUNet_raw=" in mends
    assert f"mkdir -p {folders / 'nnUNet_results'}" in mends
    assert "nnUNet_preprocessed" not in mends


def test_a_folder_with_a_space_is_quoted(folders, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(folders / "nn data"))
    raw = next(check for check in doctor.check_folders() if check.name == "nnUNet_raw")
    assert raw.mend.endswith(f"mkdir -p '{folders / 'nn data'}'")


def test_folder_that_may_not_be_written_is_named(folders, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: mode != doctor.os.W_OK)
    findings = {check.name: check for check in doctor.check_folders()}
    assert not findings["nnUNet_raw"].mend
    assert "write to" in findings["nnUNet_results"].mend


def test_switched_off_hook_is_told(monkeypatch):
    monkeypatch.setattr(doctor.nnunet_hook, "is_active", lambda: False)
    monkeypatch.setenv("MSAM_NN_DISABLE_HOOK", "1")
    assert "switched off" in doctor.check_hook().finding
    monkeypatch.setenv("MSAM_NN_DISABLE_HOOK", "0")
    assert "msam_nn.pth" in doctor.check_hook().mend


def test_name_that_does_not_resolve_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "_ask_nnunet", lambda place, name: None)
    checks = list(doctor.check_lookup("experiment_planning"))
    assert checks
    assert all("not at all (nnU-Net finds nothing)" in check.finding and check.mend for check in checks)
    monkeypatch.setattr(doctor.nnunet_hook, "is_active", lambda: False)
    assert all(check.mend.startswith("Install") for check in doctor.check_lookup("experiment_planning"))


def test_package_outside_our_range_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["torch>=99", "no-such-package", "numpy; extra == 'x'"])
    checks = {check.name: check for check in doctor.check_packages()}
    assert 'pip install "torch>=99"' in checks["torch"].mend
    assert checks["no-such-package"].finding.startswith("not installed")
    assert "numpy" not in checks


def test_broken_torchvision_is_no_fault(monkeypatch):
    def fail(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor, "import_module", fail)
    check = doctor.check_torchvision()
    assert "operator torchvision::nms does not exist" in check.finding
    assert not check.mend


@pytest.mark.parametrize(("cuda", "words"), [(None, "is a CPU build"), ("13.0", "download.pytorch.org")])
def test_a_cuda_build_without_a_gpu_gets_the_recipe(monkeypatch, cuda, words):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    check = doctor.check_device()
    assert words in check.finding and not check.mend
