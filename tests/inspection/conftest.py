"""Small raw data sets on disk, and measured cases made by hand."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.inspection.case_statistics import CaseStatistics, Lesions
from msam_nn.nnunet_folders import labelled_cases

SPACING = (3.0, 2.0, 0.5)
LABELS = {"background": 0, "organ": 1, "tumour": 2}


def write(path, array, spacing=SPACING, origin=(0, 0, 0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


class RawFolder:
    """A raw data set that a test fills case by case."""

    def __init__(self, folder, labels, channels, **entries):
        self.folder, self.name = folder, folder.name
        for name in ("imagesTr", "labelsTr"):
            (folder / name).mkdir(parents=True)
        self.dataset_json = {
            "labels": labels,
            "channel_names": {str(i): name for i, name in enumerate(channels)},
            "numTraining": 1,
            "file_ending": ".nii.gz",
            **entries,
        }
        (folder / "dataset.json").write_text(json.dumps(self.dataset_json))

    def add(self, case, channels, label, **label_geometry):
        for i, channel in enumerate(channels):
            write(self.folder / "imagesTr" / f"{case}_{i:04d}.nii.gz", np.asarray(channel, np.float32))
        if label is not None:
            write(self.folder / "labelsTr" / f"{case}.nii.gz", label, **label_geometry)


@pytest.fixture
def raw_folder(tmp_path, monkeypatch):
    """Call it for an empty data set in a fresh ``nnUNet_raw``."""

    def make(labels=LABELS, channels=("CT",), **entries):
        return RawFolder(tmp_path / "raw" / "Dataset700_Small", labels, channels, **entries)

    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    labelled_cases.cache_clear()
    yield make
    labelled_cases.cache_clear()


@pytest.fixture
def measured():
    """Call it for a faultless measured case with one tumour of 1000 mm³; arguments replace what is not."""

    def make(name, volumes=(1000.0,), **changes):
        volumes = np.array(volumes, float)
        rng = np.random.default_rng(sum(name.encode()))
        mask = np.zeros((16, 16, 16), bool)
        mask[4:8, 4:8, 4:8] = len(volumes) > 0
        values = dict(
            name=name,
            shape=(16, 16, 16),
            spacing=(2.0, 1.0, 1.0),
            channels=1,
            hashes=(name,),
            intensities=rng.normal(size=(1, 200)),
            class_intensities={"tumour": rng.normal(size=(1, 50))},
            nan_voxels=0,
            label_nan_voxels=0,
            label_values=(0.0, 1.0),
            differences=(),
            lesions={"tumour": Lesions(volumes, np.full((len(volumes), 3), 10.0))},
            foreground_mm3=float(volumes.sum()),
            coarse_foreground=mask,
            stride=(1, 1, 1),
        )
        return CaseStatistics(**{**values, **changes})

    return make
