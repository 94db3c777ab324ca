"""The demo's flow with its commands replaced by stand-ins; the real commands run in the end-to-end tests."""

import argparse
import json
import shutil

import pandas as pd
import pytest
import SimpleITK as sitk
import torch

from msam_nn.cli import demo
from msam_nn.demo.logged_command import CommandFailed
from msam_nn.errors import UserError


def arguments(workdir, *more):
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    return parser.parse_args(["demo", "--workdir", str(workdir), "--device", "cpu", *more])


def write_summary(layout):
    """nnU-Net's summary for a perfect prediction, with a false finding in the one case without tumour."""
    cases = []
    for i in range(20, 25):
        empty = i == 23
        metrics = {"Dice": 0.0 if empty else 1.0, "n_ref": 0 if empty else 10, "n_pred": 10}
        cases.append({"reference_file": f"{layout.truth}/phantom_0{i}.nii.gz", "metrics": {"1": metrics}})
    summary = {"mean": {}, "foreground_mean": {}, "metric_per_case": cases}
    (layout.predictions / "summary.json").write_text(json.dumps(summary))


def evaluate_clicks(model_folder, folds, images, labels, n_clicks, device, progress, keep):
    assert sorted(images) == sorted(labels) == [f"phantom_0{i}" for i in range(20, 25)]
    assert all(file.is_file() for files in images.values() for file in files)
    for case, file in labels.items():
        keep.segmentations[case] = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        keep.clicks[case] = [((20, 30, 30), True), ((21, 31, 31), False)]
    rows = [(case, "tumour", n, 0.5 + n / 10 if case != "phantom_023" else 0.0) for case in images for n in n_clicks]
    return pd.DataFrame(rows, columns=["case", "label", "clicks", "dice"])


@pytest.fixture
def steps_run(monkeypatch):
    """Stand-ins for the commands; returns the names of those that were called."""
    seen = []

    def stand_in(step, layout):
        seen.append(step.command.split()[0])
        if step.title == "predict":
            shutil.copytree(layout.truth, layout.predictions)
        if step.title == "evaluate":
            write_summary(layout)

    monkeypatch.setattr(demo, "run_step", stand_in)
    return seen


def test_flow(tmp_path, monkeypatch, capsys, steps_run):
    layout = demo.Layout(tmp_path, demo.MODELS["msam"])
    clicks = pytest.importorskip("msam_nn.evaluation.clicks.protocol")
    monkeypatch.setattr(clicks, "evaluate_clicks", evaluate_clicks)
    assert demo.run(arguments(tmp_path)) == 0
    assert steps_run == [
        "nnUNetv2_plan_and_preprocess",
        "nnUNetv2_train",
        "nnUNetv2_predict",
        "nnUNetv2_evaluate_folder",
    ]
    assert layout.picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "$ nnUNetv2_train 900 3d_fullres 0 -tr MSAMTrainer_1epoch -p MSAMPlans -device cpu" in printed
    for line in ("automatic   1.000", "1 click     0.600", "3 clicks    0.800", "5 clicks    1.000"):
        assert line in printed
    assert "1 without tumour, 1 of them with a false finding" in printed
    assert str(layout.predictions) in printed and str(layout.picture) in printed
    assert "nnUNetv2_train 137 3d_fullres 0 -tr MSAMTrainer -p MSAMPlans" in printed


def test_masksam_takes_no_clicks(tmp_path, capsys, steps_run):
    assert demo.run(arguments(tmp_path, "--model", "masksam")) == 0
    layout = demo.Layout(tmp_path, demo.MODELS["masksam"])
    assert layout.picture.read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(layout.scores)) == 5
    printed = capsys.readouterr().out
    assert "-pl MaskSAMPlanner -gpu_memory_target 0.5" in printed
    assert "$ nnUNetv2_train 900 3d_fullres 0 -tr MaskSAMTrainer_1epoch -p MaskSAMPlans -device cpu" in printed
    assert "automatic   1.000" in printed and "1 click" not in printed
    assert "nnUNetv2_train 137 3d_fullres 0 -tr MaskSAMTrainer -p MaskSAMPlans" in printed


def test_failed_command_ends_with_1_and_its_message(tmp_path, monkeypatch, capsys):
    def fail(step, layout):
        raise CommandFailed("last words; all output: demo.log")

    monkeypatch.setattr(demo, "run_step", fail)
    assert demo.run(arguments(tmp_path)) == 1
    assert "last words; all output: demo.log" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused_with_an_option_that_exists(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="add -device cpu"):
        demo.run(arguments(tmp_path, "-device", "cuda"))
    assert arguments(tmp_path, "-device", "cpu").device == "cpu"


def test_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = demo.prepare_workdir(None)
    assert made.parent == tmp_path and made.name.startswith("msam_demo_")
    assert demo.prepare_workdir(tmp_path / "a" / "b").is_dir()
    with pytest.raises(UserError, match="not empty"):
        demo.prepare_workdir(tmp_path)
