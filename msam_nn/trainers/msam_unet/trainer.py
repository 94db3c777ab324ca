"""Training clicks on nnU-Net's own U-Net."""

from __future__ import annotations

from dataclasses import replace

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.networks.layers.basic import LOGIT
from msam_nn.networks.msam_unet import MSAMUNet
from msam_nn.trainers.clicks.practice import PracticeRecipe
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.planned_trainer import insist_on_checkpoint, resolve_configuration
from msam_nn.trainers.promptable_trainer import PromptableTrainer

ENTRY = "msam_unet"
"""Entry of a configuration in the plans: whether the network has a background logit, which they do not say else."""


class MSAMUNetTrainer(PromptableTrainer):
    """M-SAM's loop on the U-Net of any nnU-Net plans.

    With ``-pretrained_weights`` from ``msam convert-weights`` the trained U-Net is frozen and what clicks need alone
    trains: the automatic result stays nnU-Net's, so that ``checkpoint_best`` says nothing about clicks, and
    ``checkpoint_latest`` is saved every epoch. Without, both train together, the U-Net with nnU-Net's own loss and deep
    supervision.
    """

    click_recipe = ClickRecipe(p_automatic=0.85, p_from_nothing=0)
    practice_recipe = PracticeRecipe(rounds=10, spoiled=2.0)
    loss_weight = 1.0
    initial_learning_rate = 1e-3

    def prepare_plans(self, plans: dict, configuration: str, dataset_json: dict) -> None:
        prepare_plans(plans, configuration, dataset_json)

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the network from the plans alone; nnU-Net's predictor calls this too."""
        unet = get_network_from_plans(
            configuration_manager.network_arch_class_name,
            configuration_manager.network_arch_init_kwargs,
            configuration_manager.network_arch_init_kwargs_req_import,
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )
        return MSAMUNet(
            unet,
            patch_size=tuple(configuration_manager.patch_size),
            num_outputs=num_output_channels,
            background=configuration_manager.configuration[ENTRY]["background"],
            spacing=configuration_manager.spacing,
        )

    def initialize(self) -> None:
        self.enable_deep_supervision = True
        super().initialize()

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        if self.promptable.unet_is_given:
            self.freeze_unet()
        trained, total = self.promptable.parameter_counts()
        what = "what clicks need, on a given U-Net" if self.promptable.is_frozen else "U-Net and clicks together"
        self.print_to_log_file(f"MSAMUNetTrainer: {what}; {trained:,} of {total:,} parameters train")
        super().on_train_start()

    def parameter_groups(self) -> list[dict]:
        """Segmentation heads learn :data:`LOGIT` times as fast, as if their weights were smaller and counted more."""
        groups, of_heads = [], {id(p) for p in self.promptable.unet.decoder.seg_layers.parameters()}
        for group in super().parameter_groups():
            heads, rest = ([p for p in group["params"] if (id(p) in of_heads) == are] for are in (True, False))
            faster = {"params": heads, "rate": LOGIT, "weight_decay": group["weight_decay"] / LOGIT}
            groups += [{**group, "params": rest}, {**group, **faster}]
        return groups

    def freeze_unet(self) -> None:
        """Train what clicks need alone, with an optimizer of its own and no deep supervision."""
        if self.promptable.is_frozen:
            return
        self.promptable.freeze_unet()
        self.click_recipe = replace(self.click_recipe, p_automatic=0)  # without clicks nothing is left to learn
        if self.is_ddp:  # it waits for the gradients of whatever trained when it was made
            self.network = DistributedDataParallel(self.network.module, device_ids=self.network.device_ids)
        self.save_every = 1
        self.enable_deep_supervision = False
        self.set_deep_supervision_enabled(False)
        self.loss = self._build_loss()
        self.optimizer, self.lr_scheduler = self.configure_optimizers()

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        if not self.was_initialized:
            self.initialize()
        checkpoint = filename_or_checkpoint
        if isinstance(checkpoint, str):
            insist_on_checkpoint(checkpoint)
            checkpoint = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=False)
        if checkpoint["network_weights"].get("unet_is_given", False):  # before the optimizer's state is read
            self.freeze_unet()
        super().load_checkpoint(filename_or_checkpoint)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        self.promptable.unet.decoder.deep_supervision = enabled and self.enable_deep_supervision


def prepare_plans(plans: dict, configuration: str, dataset_json: dict) -> None:
    """Note in the plans what the network cannot see in them.

    Raises:
        UserError: if the configuration is missing or its network is no U-Net of nnU-Net's.
        UnsupportedError: for 2D configurations.
    """
    manager, resolved = resolve_configuration(plans, configuration)
    if len(resolved.patch_size) != 3:
        raise UnsupportedError(f"MSAMUNetTrainer is 3D and {configuration} is 2D: use 3d_fullres (or 3d_lowres).")
    if "n_conv_per_stage_decoder" not in resolved.network_arch_init_kwargs:
        raise UserError(
            f"The plans {plans['plans_name']} describe {resolved.network_arch_class_name}, which is no U-Net: use "
            f"nnU-Net's own plans (nnUNetPlans, nnUNetResEncUNetMPlans, ...) with MSAMUNetTrainer."
        )
    background = not manager.get_label_manager(dataset_json).has_regions
    plans["configurations"][configuration][ENTRY] = {"background": background}
