"""The command line of every script: exit codes, the default folder, tasks."""

import pytest

from dataset_conversion.Dataset029_LiTS import main


@pytest.fixture
def lits(tree):
    made = tree("volume-{}", "segmentation-{}", (0, 1, 2), ending=".nii")
    made.write(("sound",))
    return made


def test_default_folder_is_nnunet_raw(lits, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    assert main(["-i", str(lits.root), "--num-workers", "1"]) == 0
    assert f"1 training and 0 test cases in {tmp_path / 'raw' / 'Dataset029_LiTS'}" in capsys.readouterr().out


def test_replaces_only_with_force(lits, run):
    assert run(main, lits.root)[0] == 0
    code, _, printed = run(main, lits.root)
    assert code == 2 and "--force" in printed.err
    assert run(main, lits.root, "--force")[0] == 0


def test_wrong_input_is_one_sentence(lits, run):
    for options, message in ((["--num-workers", "0"], "at least 1"), (["-i", "nowhere"], "not a folder")):
        code, folder, printed = run(main, lits.root, *options)
        assert code == 2 and folder is None
        assert printed.err.startswith("error: ") and message in printed.err and printed.err.count("\n") == 1


def test_unknown_task_exits_with_2(lits, run):
    with pytest.raises(SystemExit) as error:
        run(main, lits.root, "--task", "kidney")
    assert error.value.code == 2


def test_help_names_tasks_and_data_sets(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "python -m dataset_conversion.Dataset029_LiTS" in printed
    assert "all writes Dataset029_LiTS, tumour writes Dataset529_LiTSTumour (default: all)" in printed
