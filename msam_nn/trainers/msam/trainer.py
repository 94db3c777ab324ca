"""Training M-SAM in nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.errors import UserError
from msam_nn.networks.encoders.pyramid import pyramid_strides
from msam_nn.networks.msam import MSAM, CorrectingMSAM, build
from msam_nn.trainers.msam.architecture import adopt_plans, network_config
from msam_nn.trainers.promptable_trainer import PromptableTrainer


class MSAMTrainer(PromptableTrainer):
    """M-SAM from scratch: predicts without prompts and learns to correct itself with clicks."""

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
        network = build(config, enable_deep_supervision)
        network.freeze_multimask_output()
        return network

    def initialize(self) -> None:
        self.enable_deep_supervision = self.configuration_manager.network_arch_init_kwargs.get("initial_masks", False)
        super().initialize()
        self.initial_positions = self.msam.image_encoder.pos_embed.detach().clone()
        trained, total = self.msam.parameter_counts()
        self.print_to_log_file(
            f"M-SAM: {trained:,} of {total:,} parameters train; patch {self.msam.config.patch_size}, "
            f"tokens of {self.msam.config.token_size} voxels, {self.n_stages} refinement stages a step"
        )

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        self.insist_on_loaded_weights()
        super().on_train_start()

    def insist_on_loaded_weights(self) -> None:
        """A frozen encoder keeps the weights it has, so random ones must have been replaced by now: by nnU-Net's
        ``-pretrained_weights``, or by the checkpoint that ``--c`` continues from.

        Raises:
            UserError: if the encoder is frozen and still as it was initialised.
        """
        untouched = torch.equal(self.msam.image_encoder.pos_embed, self.initial_positions)
        if self.msam.config.trains_encoder or not untouched:
            return
        plans = self.plans_manager
        raise UserError(
            f"The plans {plans.plans_name} freeze the image encoder and no weights were loaded into it. Run: "
            f"msam convert-weights sam_med3d_turbo.pth --dataset {plans.dataset_name} -p {plans.plans_name} "
            f"-c {self.configuration_name} -o init.pth; then add -pretrained_weights init.pth to nnUNetv2_train. "
            f"(To train everything from scratch, plan with MSAMPlanner.)"
        )

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
