"""``nnUNetv2_plan_and_preprocess -pl MSAMPlanner``."""

from __future__ import annotations

from math import prod

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.preprocessing.architecture import ArchitectureDesign, choose_model_size, choose_patch

VOXELS_PER_GB = 700_000
"""Patch voxels a training step holds per GB: mask logits and losses of all stages at full resolution."""


class MSAMPlanner(ExperimentPlanner):
    """nnU-Net's planner with M-SAM networks: spacing, normalisation, resampling and data layout stay nnU-Net's.

    Patch, token size, network and batch size follow from the fingerprint and ``-gpu_memory_target``; the reasons are in
    the plans under ``planning_notes``. There is no 2D configuration.

    Raises:
        UserError: for data sets without a training case.
        UnsupportedError: for 2D data sets.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = "MSAMPlans",
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        if not self.dataset:
            raise UserError(
                f"{self.dataset_name} has no training case: imagesTr and labelsTr are empty or do not match."
            )

    @staticmethod
    def static_estimate_VRAM_usage(*args, **kwargs) -> float:
        """Nothing: the U-Net that nnU-Net would fit into memory here is replaced."""
        return 1.0

    def get_plans_for_configuration(self, spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache):
        plan = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        if len(spacing) == 2:
            return plan
        memory_gb = self.UNet_vram_target_GB
        patch, tokens, notes = choose_patch(median_shape, spacing, memory_gb)
        size, reason = choose_model_size(len(self.dataset), memory_gb)
        design = ArchitectureDesign(patch, tokens, size, (*notes, reason))
        batch_size, why = self._choose_batch_size(patch, approximate_n_voxels_dataset)
        plan.update(
            patch_size=np.array(patch),
            batch_size=batch_size,
            architecture=design.to_plans(background=not self._has_regions()),
            planning_notes=[*design.notes, why],
        )
        return plan

    def _choose_batch_size(self, patch: tuple[int, ...], dataset_voxels: float) -> tuple[int, str]:
        """As many patches as memory holds, at most 5 % of the data set's voxels, at least nnU-Net's minimum of 2."""
        by_memory = int(self.UNet_vram_target_GB * VOXELS_PER_GB / prod(patch))
        by_data = round(dataset_voxels * self.max_dataset_covered / prod(patch))
        batch_size = max(self.UNet_min_batch_size, min(by_memory, by_data, 8))
        return (
            batch_size,
            f"batch size {batch_size}: memory allows {by_memory}, 5 % of the voxels are {by_data}, limit 8",
        )

    def _has_regions(self) -> bool:
        return LabelManager(self.dataset_json["labels"], self.dataset_json.get("regions_class_order")).has_regions

    def plan_experiment(self):
        shapes = np.array(self.dataset_fingerprint["shapes_after_crop"])
        if np.median(shapes, axis=0).min() <= 1:
            raise UnsupportedError(
                f"{self.dataset_name} holds 2D images and M-SAM networks are 3D: use nnU-Net's planner."
            )
        return super().plan_experiment()

    def save_plans(self, plans: dict) -> None:
        plans["configurations"].pop("2d", None)
        super().save_plans(plans)
