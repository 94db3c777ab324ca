"""``nnUNetv2_plan_and_preprocess -pl MSAMPlanner``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from msam_nn.errors import UnsupportedError
from msam_nn.preprocessing.architecture import design_for_image
from msam_nn.preprocessing.foreground import oversampling
from msam_nn.preprocessing.memory import GB, bytes_per_sample, training_memory_gb, weights_bytes
from msam_nn.preprocessing.network_planner import NetworkPlanner

MAX_BATCH_SIZE = 8


class MSAMPlanner(NetworkPlanner):
    """Plans M-SAM networks that train from scratch. There is no 2D configuration.

    Raises:
        UnsupportedError: for 2D data sets.
    """

    default_plans_name = "MSAMPlans"

    def design(self, spacing: Sequence[float], median_shape: Sequence[float], dataset_voxels: float) -> dict:
        """The entries of a configuration's plans that are M-SAM's; all in voxels and mm after resampling."""
        labels, memory_gb = self.label_manager, self.UNet_vram_target_GB
        data = dict(
            in_channels=self.n_channels,
            num_classes=labels.num_segmentation_heads - (not labels.has_regions),
            background=not labels.has_regions,
        )
        design = design_for_image(
            median_shape,
            spacing,
            n_cases=len(self.dataset),
            memory_gb=memory_gb,
            **data,
        )
        config = design.config(**data)
        by_memory = int((memory_gb * GB - weights_bytes(config)) / bytes_per_sample(config))
        by_data = round(dataset_voxels * self.max_dataset_covered / prod(design.patch_size))
        batch_size = max(self.UNet_min_batch_size, min(by_memory, by_data, MAX_BATCH_SIZE))
        share, why = oversampling(design.patch_size, median_shape, self.foreground_fraction)
        return dict(
            patch_size=np.array(design.patch_size),
            batch_size=batch_size,
            architecture=design.to_plans(background=data["background"]),
            oversample_foreground_percent=share,
            planning_notes=[
                *design.notes,
                f"batch size {batch_size}: memory allows {by_memory}, 5 % of the voxels are {by_data}, "
                f"limits {self.UNet_min_batch_size} and {MAX_BATCH_SIZE}",
                why,
                f"training takes about {training_memory_gb(config, batch_size):.2g} GB",
            ],
        )

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
