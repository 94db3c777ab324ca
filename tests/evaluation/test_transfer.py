import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from msam_nn.errors import UserError
from msam_nn.evaluation import transfer as module
from msam_nn.evaluation.transfer import (
    channel_order,
    match_classes,
    open_transfer,
    transfer_markdown,
    transfer_rate,
    transfer_table,
)
from msam_nn.metrics.scores import score
from msam_nn.nnunet_folders import labelled_cases

from .results_phantom import write

MODEL = ("T", "P", "3d_fullres")


def channels(*names):
    return {"channel_names": {str(i): name for i, name in enumerate(names)}}


def test_channels_match_by_name():
    assert channel_order(channels("CT", "PET"), channels("ct", "pet"), "S", "T") == [0, 1]
    assert channel_order(channels("CT", "PET"), channels("PET", "CT"), "S", "T") == [1, 0]
    assert channel_order(channels("MR", "MR"), channels("MR", "MR"), "S", "T") == [0, 1]


def test_data_sets_of_older_versions_call_channels_modality():
    assert channel_order({"modality": {"0": "CT", "1": "PET"}}, channels("PET", "CT"), "S", "T") == [1, 0]


@pytest.mark.parametrize("target", [("CT",), ("CT", "MR"), ("CT", "PET", "MR"), ("CT", "CT")])
def test_other_channels_are_refused(target):
    with pytest.raises(UserError, match="channels differ: S has CT, PET, T has CT"):
        channel_order(channels("CT", "PET"), channels(*target), "S", "T")


def test_classes_match_by_name():
    known = {"tumour": (1,), "organ": (2,), "vessel": (3,)}
    assert match_classes(known, {"organ": (1,), "tumour": (4,)}, "S", "T") == {0: 0, 1: 4, 2: 1, 3: 0}


def test_regions_match_by_the_names_that_overlap():
    known = {"whole": (1, 2, 3), "core": (2, 3), "active": (3,)}
    assert match_classes(known, {"whole": (1, 4), "core": (4,)}, "S", "T") == {0: 0, 1: 1, 2: 4, 3: 4}


def test_a_class_the_model_never_learnt():
    with pytest.raises(UserError, match="S does not know cyst of T, only tumour"):
        match_classes({"tumour": (1,)}, {"tumour": (1,), "cyst": (2,)}, "S", "T")


def test_values_that_cannot_be_told_apart():
    with pytest.raises(UserError, match="no label for what is core and whole at once"):
        match_classes({"whole": (1, 2), "core": (2,)}, {"whole": (1,), "core": (2,)}, "S", "T")


def scores(**methods):
    """Half of a cube of eight voxels, all of it, or nothing, per method and case."""
    cube = np.zeros((4, 4, 4), bool)
    cube[1:3, 1:3, 1:3] = True
    half = cube.copy()
    half[1] = False
    masks = {"all": cube, "half": half, "none": cube & False}
    return pd.DataFrame([
        {"method": method, "case": case, "label": "tumour", **vars(score(masks[found], cube, (1, 1, 1)))}
        for method, cases in methods.items() for case, found in enumerate(cases)
    ])  # fmt: skip


def test_difference_and_rate_by_hand():
    """Dice of the half is 2/3; before is its mean with 1, after with 0."""
    table = transfer_table(scores(before=["half", "all"], after=["half", "none"])).set_index("metric")
    dice = table.loc["dice"]
    assert (dice["cases"], dice["before"], dice["after"]) == (2, pytest.approx(5 / 6), pytest.approx(1 / 3))
    assert dice["difference"] == pytest.approx(-0.5) and dice["rate"] == pytest.approx(-0.6)
    assert (dice["low"], dice["high"]) == pytest.approx((-1, 0))
    assert list(table.index) == ["dice", "iou", "nsd"]


def test_a_false_finding_after_counts_where_nothing_was_found_before():
    """Without a tumour Dice before is undefined, which counts 1 here, and 0 after a false finding."""
    table = scores(before=["half", "all", "all"], after=["half", "all", "none"])
    table.loc[(table["method"] == "before") & (table["case"] == 2), "dice"] = np.nan
    dice = transfer_table(table).set_index("metric").loc["dice"]
    assert dice["difference"] == pytest.approx(-1 / 3) and dice["rate"] == pytest.approx(-1 / 3 / (8 / 9))
    assert (dice["before"], dice["after"]) == pytest.approx((5 / 6, 5 / 9))


@pytest.mark.parametrize(
    ("before", "after", "difference", "rate"), [(61.54, 50.77, -10.77, -17.50), (86.89, 83.81, -3.08, -3.54)]
)
def test_rows_of_the_papers_table_2(before, after, difference, rate):
    assert round(after - before, 2) == difference
    assert round(100 * transfer_rate(pd.Series([before]), pd.Series([after]))[0], 2) == rate


def test_no_rate_where_training_gives_nothing_and_no_before_without_results():
    assert np.isnan(transfer_table(scores(before=["none"], after=["half"]))["rate"]).all()
    assert list(transfer_table(scores(after=["half"])).columns) == ["metric", "label", "cases", "after"]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A source with a finished fold, and a target of one case."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    labelled_cases.cache_clear()
    description = {**channels("CT"), "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
    model = tmp_path / "results" / "Dataset701_S" / "T__P__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "checkpoint_final.pth").touch()
    (model / "dataset.json").write_text(json.dumps(description))
    target = tmp_path / "raw" / "Dataset702_T"
    write(target / "imagesTr" / "a_0000.nii.gz", np.zeros((4, 4, 4), np.float32))
    write(target / "labelsTr" / "a.nii.gz", np.zeros((4, 4, 4), np.uint8))
    (target / "dataset.json").write_text(json.dumps(description))
    return tmp_path


def test_all_labelled_cases_without_a_model_of_the_target(folders):
    transfer = open_transfer("Dataset701_S", "Dataset702_T", *MODEL, [0])
    assert list(transfer.cases) == ["a"] and transfer.in_domain is None and not transfer.fold_of
    assert transfer.truth.file("a").parent.name == "labelsTr"
    text = transfer_markdown(transfer, transfer_table(scores(after=["half"])), "Dataset701_S", 1.0)
    assert "| dice | tumour | 1 | 0.667 |" in text and "1 labelled cases, all the target has" in text


def test_refusals(folders):
    with pytest.raises(UserError, match="are both"):
        open_transfer("Dataset701_S", "Dataset701_S", *MODEL, [0])
    with pytest.raises(UserError, match="no finished fold 1"):
        open_transfer("Dataset701_S", "Dataset702_T", *MODEL, [0, 1])
    file = folders / "raw" / "Dataset702_T" / "dataset.json"
    file.write_text(file.read_text(encoding="utf-8").replace(".nii.gz", ".mha"))
    with pytest.raises(UserError, match="convert one"):
        open_transfer("Dataset701_S", "Dataset702_T", *MODEL, [0])


def test_a_damaged_image_is_told_before_anything_is_predicted(folders, monkeypatch, tmp_path):
    class Predictor:
        dataset_json = channels("CT")
        configuration_manager = SimpleNamespace(previous_stage_name=None)
        plans_manager = SimpleNamespace(image_reader_writer_class=SimpleITKIO)

        def predict_single_npy_array(self, *arguments):
            raise AssertionError("predicted")

    monkeypatch.setattr(module, "load_predictor", lambda *arguments: Predictor())
    transfer = open_transfer("Dataset701_S", "Dataset702_T", *MODEL, [0])
    damaged = folders / "b_0000.nii.gz"
    damaged.write_bytes(transfer.cases["a"][0].read_bytes()[:-20])
    transfer.cases["b"] = [damaged]
    with pytest.raises(UserError, match="^b: .*b_0000.nii.gz (is damaged|ends after)"):
        module.predict_transfer(transfer, tmp_path, torch.device("cpu"), progress=False)
