"""M-SAM prompted by itself."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.errors import UserError
from msam_nn.networks.msam.self_prompted import SelfPromptedMSAM
from msam_nn.networks.promptable import PromptSource
from msam_nn.prompts import AutomaticPrompts, SimulatedClicks
from msam_nn.trainers.msam.architecture import network_config
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.targets import Targets


class MSAMSelfPromptedTrainer(MSAMTrainer):
    """The automatic prediction goes through one more stage, prompted by :class:`~msam_nn.prompts.AutomaticPrompts`;
    a share of the training's sessions practises it.

    Clicks are not practised alone at the end: from then on the mask decoder, which learns most of that stage, would not
    be asked any more.
    """

    practice_recipe = None
    p_self_prompted = 0.3

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
        if not config.initial_masks:
            raise UserError(
                f"The plans {plans_manager.plans_name} have no initial masks, which MSAMSelfPromptedTrainer takes its "
                f"prompts from: plan with MSAMPlanner."
            )
        source = AutomaticPrompts(exclusive=config.background)
        network = SelfPromptedMSAM(config, enable_deep_supervision, configuration_manager.spacing, source)
        network.freeze_multimask_output()
        return network

    def _clicks(
        self, targets: Targets, first_click: int, user: type[SimulatedClicks] = SimulatedClicks, **options: Any
    ) -> PromptSource:
        drawn = torch.rand((), generator=self.click_generator, device=self.device)
        if self.network.training and drawn < self.p_self_prompted:
            return self.promptable.automatic_prompts
        return super()._clicks(targets, first_click, user, **options)
