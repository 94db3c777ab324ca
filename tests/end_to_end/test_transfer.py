"""``msam transfer`` with a trained model on a data set whose labels have other values."""

import json
import shutil

import pandas as pd
import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.slow
MODEL = ("-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-f", 0, "-device", "cpu")


@pytest.fixture
def target(nnunet_folders):
    """The phantom again, tumour and organ with each other's label value."""
    raw = nnunet_folders["nnUNet_raw"]
    folder = raw / "Dataset902_Swapped"
    shutil.copytree(raw / "Dataset900_TumourPhantom", folder)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    labels = description["labels"]
    assert set(labels) == {"background", "tumour", "organ"}
    labels["tumour"], labels["organ"] = labels["organ"], labels["tumour"]
    (folder / "dataset.json").write_text(json.dumps(description))
    for file in (folder / "labelsTr").iterdir():
        image = sitk.ReadImage(str(file))
        swapped = sitk.ChangeLabel(image, {1: 2, 2: 1})
        sitk.WriteImage(swapped, str(file))
    yield folder
    shutil.rmtree(folder)


def test_the_same_model_on_the_same_images_scores_the_same(run, trained, target, tmp_path):
    output = tmp_path / "transfer"
    process = run("msam", "transfer", "--source", 900, "--target", 902, *MODEL, "-o", output)
    assert "no 'before' yet" in process.stdout
    assert {f.name for f in output.iterdir()} == {"predictions", "scores.csv", "transfer.csv", "transfer.md"}
    scores = pd.read_csv(output / "scores.csv").set_index(["case", "label"])
    assert len(scores) == 6 * 2
    labels = json.loads((trained / "dataset.json").read_text(encoding="utf-8"))["labels"]
    summary = json.loads((trained / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    for case in summary["metric_per_case"]:
        name = case["reference_file"].split("/")[-1].removesuffix(".nii.gz")
        for label in ("tumour", "organ"):
            expected = case["metrics"][str(labels[label])]["Dice"]
            assert scores.loc[(name, label), "dice"] == pytest.approx(expected, abs=0.01, nan_ok=True)


def test_compare_agrees_with_the_summary_of_a_real_training(run, trained, tmp_path):
    run("msam", "compare", "-d", 900, "-f", 0, trained.name, "-o", tmp_path / "report")
    report = json.loads((tmp_path / "report" / "comparison.json").read_text(encoding="utf-8"))
    summary = json.loads((trained / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    dice = [r["mean"] for r in report["summary"] if (r["method"], r["label"], r["metric"]) ==
            (trained.name, "mean of classes", "dice")]  # fmt: skip
    assert dice == [pytest.approx(summary["foreground_mean"]["Dice"])]
    (cost,) = report["costs"]
    assert int(cost["parameters"]) > 1000 and cost["training minutes per fold"] > 0
