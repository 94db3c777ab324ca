"""Images that ``benchmarks/accuracy/other_images.py`` changes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"))

from other_images import CHANGES, bias_field, blur, changed_file, gamma, noise, unchanged


@pytest.fixture
def voxels():
    return np.random.default_rng(0).normal(100, 20, (20, 24, 28)).astype(np.float32)


def generator():
    return np.random.default_rng(5)


def test_noise_has_its_standard_deviation(voxels):
    brighter = voxels[voxels > np.quantile(voxels, 0.3)]
    added = noise(voxels, generator()) - voxels
    assert added.std() == pytest.approx(0.6 * brighter.std(), rel=0.02) and abs(added.mean()) < 0.5


def test_blur_spreads_a_voxel():
    dot = np.zeros((15, 15, 15))
    dot[7, 7, 7] = 1
    blurred = blur(dot, generator())
    # normalised Gaussian of 1.2 voxels: exp(-1 / 2.88) of the middle one voxel on
    assert blurred[7, 7, 8] / blurred[7, 7, 7] == pytest.approx(0.7066, abs=1e-3) and blurred.sum() == pytest.approx(1)


def test_gamma_keeps_the_ends_and_the_order():
    line = np.linspace(-3, 5, 2001)
    changed = gamma(line, generator())
    assert changed[0] == -3 and changed[-1] == pytest.approx(np.quantile(line, 0.999))
    assert (np.diff(changed) >= 0).all() and abs(changed[1000] - 1) > 1
    assert (gamma(np.full(9, 7.0), generator()) == 7).all()


def test_a_bias_field_is_smooth_and_positive(voxels):
    factor = (bias_field(voxels, generator()) - voxels.min()) / np.maximum(voxels - voxels.min(), 1e-3)
    factor = factor[voxels > voxels.min() + 1]
    assert (factor > 0).all() and np.log(factor).std() == pytest.approx(0.6, rel=0.05)


def test_a_file_is_changed_alike_each_time_and_keeps_its_geometry(tmp_path, voxels):
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((1, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "case_0000.nii.gz"))
    (tmp_path / "out").mkdir()
    for change in CHANGES:
        first, second = (
            sitk.ReadImage(str(changed_file(tmp_path / "case_0000.nii.gz", change, tmp_path / "out"))) for _ in range(2)
        )
        assert first.GetSpacing() == pytest.approx((0.5, 0.7, 3.0)) and first.GetOrigin() == pytest.approx((1, 2, 3))
        a, b = sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second)
        assert np.array_equal(a, b) and np.isfinite(a).all()
        assert np.array_equal(a, voxels) == (change is unchanged)
