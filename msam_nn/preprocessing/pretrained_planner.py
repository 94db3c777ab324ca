"""``nnUNetv2_plan_and_preprocess -pl MSAMPretrainedPlanner -c 3d_fullres``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization, ZScoreNormalization
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from msam_nn.errors import UserError
from msam_nn.networks.msam.builder import BUILDER
from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.nnunet_folders import channel_names
from msam_nn.preprocessing.foreground import oversampling
from msam_nn.preprocessing.normalization import SAMMed3DCTNormalization, SAMMed3DNormalization
from msam_nn.preprocessing.planners import MSAMPlanner
from msam_nn.preprocessing.pretrained_preprocessor import SAMMed3DPreprocessor

SPACING_MM = 1.5
BATCH_SIZE = 2
NOTES = (
    "spacing 1.5 mm, RAS axes in the order (x, y, z), patch 128^3, tokens of 16 voxels: as SAM-Med3D was trained",
    "linear resampling, then z-score over voxels > 0 (CT clamped to [-1000, 1000] HU first): SAM-Med3D's preprocessing",
    "released relative position and dense position encoding, no clicks written into the mask: its weights expect it",
    "image encoder frozen, LoRA rank 4; adapter, prompt encoder and mask decoder train (arXiv 2403.05912, section 3.1)",
    f"batch size {BATCH_SIZE}: nnU-Net's smallest, because a ViT-B's activations of 128^3 voxels fill the memory",
)


class MSAMPretrainedPlanner(MSAMPlanner):
    """Plans for weights of SAM-Med3D or M-SAM: its geometry and preprocessing are fixed, none follows the data set.

    Only NIfTI, because nnU-Net's reader that turns images to canonical RAS reads nothing else. The one configuration is
    ``3d_fullres``. Training needs ``-pretrained_weights`` with a file that ``msam convert-weights`` wrote.

    Raises:
        UserError: for other file formats, or another target spacing.
    """

    default_plans_name = "MSAMPretrainedPlans"

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = SAMMed3DPreprocessor.__name__,
        plans_name: str | None = None,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        if overwrite_target_spacing is not None and set(overwrite_target_spacing) != {SPACING_MM}:
            raise UserError(
                f"MSAMPretrainedPlanner plans {SPACING_MM} mm on every axis, as the released weights expect: leave out "
                f"-overwrite_target_spacing, or use MSAMPlanner."
            )
        if preprocessor_name == "DefaultPreprocessor":  # what nnU-Net's commands pass unless told otherwise
            preprocessor_name = SAMMed3DPreprocessor.__name__
        super().__init__(
            dataset_name_or_id, gpu_memory_target_in_gb, preprocessor_name, plans_name, None, suppress_transpose
        )
        ending = self.dataset_json["file_ending"]
        if ending.lower() not in NibabelIOWithReorient.supported_file_endings:
            raise UserError(
                f"MSAMPretrainedPlanner reads NIfTI only (.nii, .nii.gz) and {self.dataset_name} holds {ending} files: "
                f"convert them, or use MSAMPlanner."
            )
        self.lowres_creation_threshold = 0.0

    def determine_reader_writer(self) -> type[NibabelIOWithReorient]:
        return NibabelIOWithReorient

    def determine_fullres_target_spacing(self) -> np.ndarray:
        return np.full(3, SPACING_MM)

    def determine_transpose(self) -> tuple[list[int], list[int]]:
        """nnU-Net's readers give ``(z, y, x)``, SAM-Med3D saw ``(x, y, z)``."""
        return [2, 1, 0], [2, 1, 0]

    def determine_resampling(self, *args, **kwargs):
        """Linear on all axes at once, without nnU-Net's separate treatment of anisotropic images."""
        linear = {"order": 1, "order_z": 0, "force_separate_z": False}
        image, labels = {"is_seg": False, **linear}, {"is_seg": True, **linear}
        return resample_data_or_seg_to_shape, image, resample_data_or_seg_to_shape, labels

    def determine_segmentation_softmax_export_fn(self, *args, **kwargs):
        resample, options, _, _ = self.determine_resampling()
        return resample, options

    def determine_normalization_scheme_and_whether_mask_is_used_for_norm(self) -> tuple[list[str], list[bool]]:
        """SAM-Med3D's schemes in place of nnU-Net's two usual ones; a channel that asks for another keeps it."""
        ours = {CTNormalization: SAMMed3DCTNormalization, ZScoreNormalization: SAMMed3DNormalization}
        schemes = [get_normalization_scheme(name) for name in channel_names(self.dataset_json)]
        return [ours.get(scheme, scheme).__name__ for scheme in schemes], [False] * len(schemes)

    def design(self, spacing: Sequence[float], median_shape: Sequence[float], dataset_voxels: float) -> dict:
        background = not self.label_manager.has_regions
        config = MSAMConfig.sam_med3d(background=background)
        share, why = oversampling(config.patch_size, median_shape, self.foreground_fraction)
        return dict(
            patch_size=np.array(config.patch_size),
            batch_size=BATCH_SIZE,
            architecture={
                "network_class_name": BUILDER,
                "arch_kwargs": config.to_arch_kwargs(),
                "_kw_requires_import": [],
            },
            oversample_foreground_percent=share,
            planning_notes=[*NOTES, why],
        )
