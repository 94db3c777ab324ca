"""Grids on the phantom data set."""

import pytest
import yaml

pytest.importorskip("submitit", reason='needs pip install "msam_nn[arena]"')


@pytest.fixture
def arena(nnunet_folders, tmp_path, monkeypatch):
    """Write ``grid.yaml`` of the given entries and return its path; results are in a folder of the test's own."""
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_raw", str(nnunet_folders["nnUNet_raw"]))
    monkeypatch.setenv("nnUNet_preprocessed", str(nnunet_folders["nnUNet_preprocessed"]))

    def write(**entries):
        defaults = {"datasets": [900], "device": "cpu", "cores_per_job": 1, "measure_prediction": False}
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump({**defaults, **entries}, sort_keys=False))
        return file

    return write


M_SAM = {"M-SAM": {"trainer": "MSAMTrainer", "plans": "MSAMPlans"}}
