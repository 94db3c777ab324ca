"""``msam prompts`` and ``msam predict`` on a trained model."""

import json

import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.slow
MODEL = ("-d", 900, "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-f", 0, "-device", "cpu")


def test_from_masks_to_predictions_and_on_after_a_failure(run, trained, nnunet_folders, tmp_path):
    raw = nnunet_folders["nnUNet_raw"] / "Dataset900_TumourPhantom"
    run("msam", "prompts", "create", raw / "labelsTr", "-o", tmp_path / "p.json", "--kinds", "points", "boxes")
    prompts = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    case, other = sorted(set(prompts) - {"space"})[:2]
    prompts[other]["1"]["points"] = [[500, 0, 0, 1]]
    (tmp_path / "p.json").write_text(json.dumps({case: prompts[case], other: prompts[other]}))
    arguments = ("-i", raw / "imagesTr", "-o", tmp_path / "out", "--prompts", tmp_path / "p.json")
    process = run("msam", "predict", *MODEL, *arguments, check=False)
    assert process.returncode == 1
    assert f"{other}: class 1, points 0" in process.stderr and "1 of 2 cases failed" in process.stderr
    assert "Traceback" not in process.stderr
    assert [f.name for f in (tmp_path / "out").glob("*.nii.gz")] == [f"{case}.nii.gz"]
    predicted = sitk.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
    for label, given in prompts[case].items():
        for z, y, x, _ in given["points"]:
            assert predicted[x, y, z] == int(label)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("-d", 123), "no data set 123"),
        (("-f", 3), "No such checkpoint"),
        (("-i", "nowhere"), "holds no images"),
        (("--prompts", "none.json"), "cannot be read"),
        (("-m", "model"), "either with -d"),
    ],
)
def test_wrong_input_gets_one_sentence(run, trained, nnunet_folders, tmp_path, change, message):
    (tmp_path / "p.json").write_text("{}")
    images = nnunet_folders["nnUNet_raw"] / "Dataset900_TumourPhantom" / "imagesTr"
    arguments = [*MODEL, "-i", images, "-o", tmp_path / "out", "--prompts", tmp_path / "p.json"]
    if change[0] in arguments:
        arguments[arguments.index(change[0]) + 1] = change[1]
    else:
        arguments += change
    process = run("msam", "predict", *arguments, check=False)
    assert process.returncode == 2
    assert message in process.stderr and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()
