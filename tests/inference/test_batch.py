import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.errors import UserError
from msam_nn.inference.batch import PromptedBatch, image_cases, some_of
from msam_nn.inference.prompt_file import ClassPrompts, PromptFile
from msam_nn.inference.prompting import image as prompted_image

from .test_prompted import make_predictor  # noqa: F401


@pytest.fixture
def images(nnunet_folders, tmp_path):
    """Two images of the phantom data set, and their label files."""
    raw = nnunet_folders["nnUNet_raw"] / "Dataset900_TumourPhantom"
    cases = sorted(image_cases(raw / "imagesTr", ".nii.gz"))[:2]
    (tmp_path / "images").mkdir()
    for case in cases:
        shutil.copy(raw / "imagesTr" / f"{case}_0000.nii.gz", tmp_path / "images")
    return tmp_path / "images", {case: raw / "labelsTr" / f"{case}.nii.gz" for case in cases}


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def batch(predictor, cases, **options):
    return PromptedBatch(predictor, PromptFile(cases), progress=False, **options)


def test_clicks_hold_on_the_grid_of_the_image_whatever_the_network_says(make_predictor, images, tmp_path):  # noqa: F811
    folder, labels = images
    case = next(iter(labels))
    image = sitk.ReadImage(str(folder / f"{case}_0000.nii.gz"))
    random = np.random.default_rng(0)
    voxels = random.permutation(np.argwhere(sitk.GetArrayFromImage(image) > -900))[:24].tolist()
    points = [tuple((*voxel, i % 2) for i, voxel in enumerate(voxels[part::2])) for part in range(2)]
    prompts = {case: {name: ClassPrompts(p) for name, p in zip(("tumour", "2"), points, strict=True)}}
    failed = batch(make_predictor(), prompts, save_probabilities=True).run(folder, tmp_path / "out")
    assert failed == {}
    predicted = sitk.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
    assert predicted.GetSize() == image.GetSize() and predicted.GetSpacing() == pytest.approx(image.GetSpacing())
    for label, clicked in enumerate(points, start=1):
        for z, y, x, positive in clicked:
            assert (predicted[x, y, z] == label) == bool(positive)
    probabilities = np.load(tmp_path / "out" / f"{case}.npz")["probabilities"]
    np.testing.assert_array_equal(probabilities.argmax(0), read(tmp_path / "out" / f"{case}.nii.gz"))
    names = {f"{case}.nii.gz", f"{case}.npz", f"{case}.pkl", "dataset.json", "plans.json"}
    assert {f.name for f in (tmp_path / "out").iterdir()} == names


def test_a_perfect_mask_needs_no_click(make_predictor, images, tmp_path):  # noqa: F811
    """The network's grid is the image's here, so the mask comes back voxel for voxel."""
    folder, labels = images
    case, truth_file = next(iter(labels.items()))
    predictor = make_predictor()
    spacing = sitk.ReadImage(str(truth_file)).GetSpacing()[::-1]
    order = predictor.plans_manager.transpose_forward
    predictor.configuration_manager.configuration["spacing"] = [spacing[axis] for axis in order]
    truth = sitk.ReadImage(str(truth_file))
    prompts = {}
    for label in (1, 2):
        sitk.WriteImage(truth == label, str(tmp_path / f"{label}.nii.gz"))
        prompts[str(label)] = ClassPrompts(mask=tmp_path / f"{label}.nii.gz")
    assert batch(predictor, {case: prompts}).run(folder, tmp_path / "out") == {}
    np.testing.assert_array_equal(read(tmp_path / "out" / f"{case}.nii.gz"), read(truth_file))


def test_the_batch_goes_on_and_names_what_failed(make_predictor, images, tmp_path):  # noqa: F811
    folder, labels = images
    bad, good = labels
    (folder / f"{bad}_0000.nii.gz").write_text("broken")
    centre = {"1": ClassPrompts(((5, 5, 5, 1),))}
    failed = batch(make_predictor(), {bad: centre, good: centre, "gone": centre}).run(folder, tmp_path / "out")
    assert set(failed) == {bad, "gone"} and "is not in" in failed["gone"]
    assert "no NIfTI" in failed[bad] and len(failed[bad].splitlines()) == 1
    written = {f.name for f in (tmp_path / "out").iterdir()}
    assert written == {f"{good}.nii.gz", "dataset.json", "plans.json"}


def test_another_cases_prompts_fail_in_one_sentence(make_predictor, images, tmp_path):  # noqa: F811
    folder, labels = images
    case = next(iter(labels))
    failed = batch(make_predictor(), {case: {"1": ClassPrompts(((5, 5, 500, 1),))}}).run(folder, tmp_path / "out")
    assert "outside the image" in failed[case] and "another case" in failed[case]
    both = {case: {"1": ClassPrompts(((5, 5, 5, 1), (5, 5, 5, 0)))}}
    assert "contradict" in batch(make_predictor(), both).run(folder, tmp_path / "out")[case]


def test_an_object_too_large_for_one_prompt_is_remarked(make_predictor, images, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(prompted_image, "MAX_WINDOWS", 0)
    folder, labels = images
    case = next(iter(labels))
    tool = batch(make_predictor(), {case: {"2": ClassPrompts(((5, 6, 7, 1),))}})
    (tmp_path / "out").mkdir()
    remarks = tool.predict_case(case, [folder / f"{case}_0000.nii.gz"], tmp_path / "out")
    assert "class organ goes on" in remarks[0] and "click there" in remarks[0]


def test_automatic_predicts_cases_without_prompts_too(make_predictor, images, tmp_path, capsys):  # noqa: F811
    folder, labels = images
    first, second = labels
    prompts = {first: {"1": ClassPrompts(((5, 5, 5, 1),))}}
    batch(make_predictor(), prompts).run(folder, tmp_path / "some")
    said = f"left out: 1 of 2 cases, {second} (--automatic predicts them, too)."
    assert said in capsys.readouterr().out
    batch(make_predictor(), prompts, automatic=True).run(folder, tmp_path / "all")
    assert "left out" not in capsys.readouterr().out
    found = [{f.name for f in (tmp_path / name).glob("*.nii.gz")} for name in ("some", "all")]
    assert found == [{f"{first}.nii.gz"}, {f"{case}.nii.gz" for case in labels}]


def test_nothing_to_predict(make_predictor, images, tmp_path):  # noqa: F811
    folder, _ = images
    with pytest.raises(UserError, match="None of the 2 cases .* has prompts: the file has other,"):
        batch(make_predictor(), {"other": {}}).run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="takes no predictions of a previous stage"):
        batch(make_predictor(), {}, previous_stage=Path("x")).run(folder, tmp_path / "out")
    with pytest.raises(UserError, match=r"holds no images like case_0000.nii.gz\.$"):
        image_cases(tmp_path / "nowhere", ".nii.gz")


def test_images_without_a_channel_in_their_name(tmp_path):
    (tmp_path / "hippocampus_049.nii.gz").touch()
    with pytest.raises(UserError, match="rename hippocampus_049.nii.gz to hippocampus_049_0000.nii.gz, and the others"):
        image_cases(tmp_path, ".nii.gz")
    (tmp_path / "a_0000.nii.gz").touch()
    assert image_cases(tmp_path, ".nii.gz") == {"a": [tmp_path / "a_0000.nii.gz"]}


def test_images_of_another_ending(tmp_path):
    (tmp_path / "a_0000.nii").touch()
    (tmp_path / ".hidden.txt").touch()
    with pytest.raises(UserError, match=r"there is a_0000.nii, but images have to end in .nii.gz\.$"):
        image_cases(tmp_path, ".nii.gz")


def test_no_more_than_five_names_are_quoted():
    assert some_of([]) == "no cases" and some_of("edcba") == "a, b, c, d, e" and some_of("fedcba") == "a, b, c, d, e, …"
