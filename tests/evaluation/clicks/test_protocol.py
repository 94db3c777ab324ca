import pytest

from msam_nn.errors import UserError
from msam_nn.evaluation.clicks import protocol as module
from msam_nn.evaluation.clicks.protocol import evaluate_clicks, run_protocol


class Predictor:
    """Stands for a loaded model."""

    previous_stage_name = None

    def __init__(self, **kwargs):
        self.configuration_manager = self

    def initialize_from_trained_model_folder(self, folder, folds):
        pass


@pytest.fixture(autouse=True)
def model(monkeypatch):
    def load(predictor, name, images, label):
        if name == "broken":
            raise RuntimeError("cannot read it\nmore")
        return name

    monkeypatch.setattr(module, "PromptedPredictor", Predictor)
    monkeypatch.setattr(module.ClickCase, "load", load)


def protocol(predictor, case):
    yield {"label": case, "clicks": 0, "dice": 0.5}


def run(*cases, labels=None, **kwargs):
    files = {case: [] for case in cases}
    return run_protocol(protocol, "model", (0,), files, labels or files, "cpu", progress=False)


def test_a_case_that_fails_is_named_and_the_others_go_on():
    scores, failed = run("b", "broken", "a")
    assert scores["case"].tolist() == ["a", "b"] and failed == {"broken": "cannot read it"}
    assert {"iou", "nsd", "hd95", "seconds", "strategy", "seed", "true_voxels"} <= set(scores.columns)


def test_images_without_truth_are_refused():
    with pytest.raises(UserError, match="not both: b"):
        run("a", "b", labels={"a": "file"})


def test_cascades_are_refused(monkeypatch):
    monkeypatch.setattr(Predictor, "previous_stage_name", "3d_lowres")
    with pytest.raises(UserError, match="cascade"):
        run("a")


def test_the_short_form_stops_at_a_failure():
    with pytest.raises(UserError, match="broken: cannot read it"):
        evaluate_clicks("model", (0,), {"broken": []}, {"broken": "file"}, (0, 1), progress=False)
