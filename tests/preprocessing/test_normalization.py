"""SAM-Med3D's normalisation against values worked out by hand."""

import numpy as np
import pytest

from msam_nn.preprocessing.normalization import SAMMed3DCTNormalization, SAMMed3DNormalization


def run(scheme, values):
    image = np.array(values, dtype=np.float32).reshape(1, 1, -1)
    result = scheme(use_mask_for_norm=False, intensityproperties={}).run(image, np.zeros(image.shape))
    assert result.dtype == np.float32
    assert np.array_equal(image.ravel(), np.float32(values))  # the input is not changed
    return result.ravel()


def test_statistics_of_positive_voxels_scale_all_voxels():
    # positive: 1, 2, 3; mean 2, unbiased deviation 1
    np.testing.assert_allclose(run(SAMMed3DNormalization, [-5, 0, 1, 2, 3]), [-7, -2, -1, 0, 1], rtol=1e-6)


def test_ct_is_clamped_first():
    # clamped: -1000, 100, 1000, 1000; positive: 100, 1000, 1000; mean 700, deviation 900 / sqrt 3
    expected = (np.array([-1000, 100, 1000, 1000]) - 700) / (900 / np.sqrt(3))
    np.testing.assert_allclose(run(SAMMed3DCTNormalization, [-3000, 100, 1000, 2500]), expected, rtol=1e-6)


def test_without_positive_voxel_all_voxels_count():
    np.testing.assert_allclose(run(SAMMed3DNormalization, [-3, -2, -1]), [-1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("values", ([0, 0, 0], [7, 7, 7], [0, 0, 4], [5]))
def test_constant_values_are_only_shifted(values):
    result = run(SAMMed3DNormalization, values)
    np.testing.assert_allclose(result, np.array(values) - max(values), atol=1e-6)
