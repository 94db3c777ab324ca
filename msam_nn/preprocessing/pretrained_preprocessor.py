"""SAM-Med3D's order of preprocessing steps, on nnU-Net's preprocessor."""

from __future__ import annotations

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager


class SAMMed3DPreprocessor(DefaultPreprocessor):
    """Resample, then normalise, and keep the empty margin, as SAM-Med3D was trained.

    nnU-Net normalises before it resamples, because it normalises inside the nonzero mask; here the mask is "voxels > 0"
    and belongs to the resampled image. nnU-Net also crops to the nonzero region and later pads with 0, which after
    normalisation is the mean intensity of the foreground; the frozen encoder knows empty space as ``-mean / std``.

    Resampled extents are rounded by nnU-Net. Where an extent is a whole multiple of the target spacing the grid is
    SAM-Med3D's; otherwise the two differ by at most half a voxel at the border.
    """

    def run_case_npy(
        self,
        data: np.ndarray,
        seg: np.ndarray | None,
        properties: dict,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict | str,
    ) -> tuple[np.ndarray, np.ndarray, dict]:
        data, seg, properties = super().run_case_npy(
            keep_extent(data), seg, properties, plans_manager, configuration_manager, dataset_json
        )
        data = super()._normalize(
            data, seg, configuration_manager, plans_manager.foreground_intensity_properties_per_channel
        )
        return data, seg, properties

    def _normalize(self, data: np.ndarray, *args) -> np.ndarray:
        """nnU-Net calls this before resampling: too early."""
        return data


def keep_extent(data: np.ndarray) -> np.ndarray:
    """A float32 copy of ``(C, z, y, x)`` that nnU-Net's crop to the nonzero region leaves whole.

    A zero in one of two opposite corners becomes the negative number nearest to it, which changes no statistics of
    positive voxels and no interpolated value beyond rounding.
    """
    data = data.astype(np.float32)
    for corner in ((0, 0, 0), (-1, -1, -1)):
        if data[(0, *corner)] == 0:
            data[(0, *corner)] = -np.finfo(np.float32).tiny
    return data
