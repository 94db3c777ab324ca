"""``nnUNetv2_plan_and_preprocess -pl MaskSAMPlanner``, and its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from msam_nn.networks.masksam import BUILDER
from msam_nn.preprocessing.foreground import oversampling
from msam_nn.preprocessing.masksam.design import MIN_BATCH_SIZE, design_for_image
from msam_nn.preprocessing.masksam.memory import GB, bytes_per_sample, training_memory_gb, weights_bytes
from msam_nn.preprocessing.network_planner import NetworkPlanner

MAX_BATCH_SIZE = {2: 32, 3: 8}
"""By the number of axes of the configuration."""


class MaskSAMPlanner(NetworkPlanner):
    """Plans MaskSAM networks on SAM's ViT-B; with little memory, on a tiny encoder that trains from scratch.

    Slices are taken along the first axis after nnU-Net's transposition, the one of the coarsest spacing. The 2D
    configuration has patches of one slice, and so have 2D data sets.
    """

    default_plans_name = "MaskSAMPlans"
    designs_2d = True
    trunk = "vit_b"

    def design(self, spacing: Sequence[float], median_shape: Sequence[float], dataset_voxels: float) -> dict:
        memory_gb, axes = self.UNet_vram_target_GB, len(spacing)
        shape = (*(1,) * (3 - axes), *median_shape)
        design = design_for_image(
            shape,
            trunk=self.trunk,
            in_channels=self.n_channels,
            num_classes=self.label_manager.num_segmentation_heads,
            background=not self.label_manager.has_regions,
            memory_gb=memory_gb,
        )
        config = design.config
        by_memory = int((memory_gb * GB - weights_bytes(config)) / bytes_per_sample(config))
        by_data = round(dataset_voxels * self.max_dataset_covered / prod(config.patch_size))
        batch_size = max(MIN_BATCH_SIZE, min(by_memory, by_data, MAX_BATCH_SIZE[axes]))
        share, why = oversampling(config.patch_size, shape, self.foreground_fraction)
        return dict(
            patch_size=np.array(config.patch_size[3 - axes :]),
            batch_size=batch_size,
            architecture={
                "network_class_name": BUILDER,
                "arch_kwargs": config.to_arch_kwargs(),
                "_kw_requires_import": [],
            },
            oversample_foreground_percent=share,
            planning_notes=[
                *design.notes,
                f"batch size {batch_size}: memory allows {by_memory}, 5 % of the voxels are {by_data}, "
                f"limits {MIN_BATCH_SIZE} and {MAX_BATCH_SIZE[axes]}",
                why,
                f"training takes about {training_memory_gb(config, batch_size):.2g} GB",
            ],
        )


class MaskSAMPlannerTiny(MaskSAMPlanner):
    """The encoder that trains from scratch, whatever the memory: for those who have no weights of SAM's."""

    default_plans_name = "MaskSAMTinyPlans"
    trunk = "tiny"


class MaskSAMPlannerL(MaskSAMPlanner):
    """SAM's ViT-L."""

    default_plans_name = "MaskSAMLPlans"
    trunk = "vit_l"


class MaskSAMPlannerH(MaskSAMPlanner):
    """SAM's ViT-H."""

    default_plans_name = "MaskSAMHPlans"
    trunk = "vit_h"
