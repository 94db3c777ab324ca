"""Training M-SAM in nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.networks.encoders.pyramid import pyramid_strides
from msam_nn.networks.msam import MSAM, CorrectingMSAM, build
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.frozen_encoder import FrozenEncoderMixin
from msam_nn.trainers.msam.architecture import adopt_plans, network_config
from msam_nn.trainers.promptable_trainer import PromptableTrainer


class MSAMTrainer(FrozenEncoderMixin, PromptableTrainer):
    """M-SAM from scratch: predicts without prompts and learns to correct itself with clicks."""

    released_weights = "sam_med3d_turbo.pth"
    planner_from_scratch = "MSAMPlanner"
    click_recipe = ClickRecipe(p_automatic=0.85)
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
        config = network_config(configuration_manager, num_input_channels, num_output_channels)
        network = build(config, enable_deep_supervision, configuration_manager.spacing)
        network.freeze_multimask_output()
        return network

    def initialize(self) -> None:
        self.enable_deep_supervision = self.configuration_manager.network_arch_init_kwargs.get("initial_masks", False)
        super().initialize()
        trained, total = self.msam.parameter_counts()
        self.print_to_log_file(
            f"M-SAM: {trained:,} of {total:,} parameters train; patch {self.msam.config.patch_size}, "
            f"tokens of {self.msam.config.token_size} voxels, {self.n_stages} refinement stages a clicked step"
        )

    @property
    def trains_encoder(self) -> bool:
        return self.msam.config.trains_encoder

    @property
    def msam(self) -> MSAM:
        return self.promptable

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        if not self.enable_deep_supervision:
            return None
        tokens = tuple(self.configuration_manager.network_arch_init_kwargs["token_size"])
        return [[1 / cell for cell in stride] for stride in pyramid_strides(tokens)[:-1]]

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Networks without initial masks are supervised at every refinement stage, not at every resolution."""
        if isinstance(self.msam, CorrectingMSAM):
            self.msam.deep_supervision = enabled and self.enable_deep_supervision
