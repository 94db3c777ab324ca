"""Training M-SAM in nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.networks import MSAM
from msam_nn.trainers.frozen_encoder import FrozenEncoderMixin
from msam_nn.trainers.msam.architecture import adopt_plans, network_config
from msam_nn.trainers.promptable_trainer import PromptableTrainer


class MSAMTrainer(FrozenEncoderMixin, PromptableTrainer):
    """M-SAM from scratch: predicts without prompts and learns to correct itself with clicks."""

    released_weights = "sam_med3d_turbo.pth"
    planner_from_scratch = "MSAMPlanner"
    architecture_changes: Mapping[str, Any] = {}
    """Fields of :class:`~msam_nn.networks.MSAMConfig` that a variant sets, whatever the plans say."""

    def prepare_plans(self, plans: dict, configuration: str, dataset_json: dict) -> None:
        adopt_plans(plans, configuration, dataset_json, self.architecture_changes)

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the network from the plans alone; nnU-Net's predictor calls this too."""
        network = MSAM(network_config(configuration_manager, num_input_channels, num_output_channels))
        network.freeze_multimask_output()
        return network

    def initialize(self) -> None:
        super().initialize()
        trained, total = self.msam.parameter_counts()
        self.print_to_log_file(
            f"M-SAM: {trained:,} of {total:,} parameters train; patch {self.msam.config.patch_size}, "
            f"tokens of {self.msam.config.token_size} voxels, {self.n_stages} refinement stages a step"
        )

    @property
    def trains_encoder(self) -> bool:
        return self.msam.config.trains_encoder

    @property
    def msam(self) -> MSAM:
        return self.promptable

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """M-SAM is supervised at every refinement stage, not at every resolution."""
