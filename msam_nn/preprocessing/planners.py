"""``nnUNetv2_plan_and_preprocess -pl MSAMPlanner``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.preprocessing.architecture import design_for_image
from msam_nn.preprocessing.foreground import oversampling, rarest_fraction
from msam_nn.preprocessing.memory import GB, bytes_per_sample, training_memory_gb, weights_bytes

MAX_BATCH_SIZE = 8

LABELS_READ = 10


class MSAMPlanner(ExperimentPlanner):
    """nnU-Net's planner with M-SAM networks: spacing, normalisation, resampling and data layout stay nnU-Net's.

    Patch, token size, network, batch size and foreground oversampling follow from the fingerprint, a few labels and
    ``-gpu_memory_target``; the reasons are in the plans under ``planning_notes``. There is no 2D configuration.

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
        if len(spacing) == 3:
            plan.update(self.design(spacing, median_shape, approximate_n_voxels_dataset))
        return plan

    def design(self, spacing: Sequence[float], median_shape: Sequence[float], dataset_voxels: float) -> dict:
        """The entries of a configuration's plans that are M-SAM's; all in voxels and mm after resampling."""
        labels, memory_gb = self.label_manager, self.UNet_vram_target_GB
        fraction = self.foreground_fraction
        data = dict(
            in_channels=len(self.dataset_json.get("channel_names") or self.dataset_json["modality"]),
            num_classes=labels.num_segmentation_heads - (not labels.has_regions),
            background=not labels.has_regions,
        )
        design = design_for_image(
            median_shape,
            spacing,
            n_cases=len(self.dataset),
            object_edge=(fraction * prod(median_shape)) ** (1 / 3),
            memory_gb=memory_gb,
            **data,
        )
        config = design.config(**data)
        by_memory = int((memory_gb * GB - weights_bytes(config)) / bytes_per_sample(config))
        by_data = round(dataset_voxels * self.max_dataset_covered / prod(design.patch_size))
        batch_size = max(self.UNet_min_batch_size, min(by_memory, by_data, MAX_BATCH_SIZE))
        share, why = oversampling(design.patch_size, median_shape, fraction)
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

    @property
    def label_manager(self) -> LabelManager:
        return LabelManager(self.dataset_json["labels"], self.dataset_json.get("regions_class_order"))

    @cached_property
    def foreground_fraction(self) -> float:
        """Share of the rarest class in a cropped image, from the labels of at most :data:`LABELS_READ` cases: nnU-Net's
        fingerprint does not hold it."""
        reader = self.determine_reader_writer()()
        files = [case["label"] for case in self.dataset.values()]
        chosen = files[:: -(-len(files) // LABELS_READ)]
        fraction = rarest_fraction((reader.read_seg(file)[0] for file in chosen), self.label_manager)
        return min(1.0, fraction / self.dataset_fingerprint["median_relative_size_after_cropping"])

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
