"""Planning networks that follow from a data set: what our planners share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UserError
from msam_nn.nnunet_folders import channel_names
from msam_nn.preprocessing.foreground import rarest_fraction

LABELS_READ = 10


class NetworkPlanner(ExperimentPlanner):
    """nnU-Net's planner with other networks: spacing, normalisation, resampling and data layout stay nnU-Net's.

    Patch, network, batch size and foreground oversampling follow from the fingerprint, a few labels and
    ``-gpu_memory_target``; the reasons are in the plans under ``planning_notes``.

    Raises:
        UserError: for data sets without a training case.
    """

    default_plans_name: str
    designs_2d = False
    """Whether the 2D configuration is designed too; nnU-Net's U-Net stays in it otherwise."""

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name or self.default_plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        if not self.dataset:
            raise UserError(
                f"{self.dataset_name} has no training case: imagesTr and labelsTr are empty or do not match."
            )

    def design(self, spacing: Sequence[float], median_shape: Sequence[float], dataset_voxels: float) -> dict:
        """The entries of a configuration's plans that replace nnU-Net's; voxels and mm are those after resampling."""
        raise NotImplementedError

    @staticmethod
    def static_estimate_VRAM_usage(*args, **kwargs) -> float:
        """Nothing: the U-Net that nnU-Net would fit into memory here is replaced."""
        return 1.0

    def get_plans_for_configuration(self, spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache):
        plan = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        if len(spacing) == 3 or self.designs_2d:
            plan.update(self.design(spacing, median_shape, approximate_n_voxels_dataset))
        return plan

    @property
    def label_manager(self) -> LabelManager:
        return LabelManager(self.dataset_json["labels"], self.dataset_json.get("regions_class_order"))

    @property
    def n_channels(self) -> int:
        return len(channel_names(self.dataset_json))

    @cached_property
    def foreground_fraction(self) -> float:
        """Share of the rarest class in a cropped image, from the labels of at most :data:`LABELS_READ` cases: nnU-Net's
        fingerprint does not hold it."""
        reader = self.determine_reader_writer()()
        files = [case["label"] for case in self.dataset.values()]
        chosen = files[:: -(-len(files) // LABELS_READ)]
        fraction = rarest_fraction((reader.read_seg(file)[0] for file in chosen), self.label_manager)
        return min(1.0, fraction / self.dataset_fingerprint["median_relative_size_after_cropping"])
