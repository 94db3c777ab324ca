"""Training MaskSAM in nnU-Net."""

from __future__ import annotations

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.networks.masksam import MaskSAM
from msam_nn.trainers.frozen_encoder import FrozenEncoderMixin
from msam_nn.trainers.masksam.architecture import adopt_plans, network_config
from msam_nn.trainers.masksam.losses import SetLoss
from msam_nn.trainers.masksam.targets import SetTargets, set_targets
from msam_nn.trainers.planned_trainer import PlannedTrainer

RELEASED_WEIGHTS = {768: "sam_vit_b_01ec64.pth", 1024: "sam_vit_l_0b3195.pth", 1280: "sam_vit_h_4b8939.pth"}
"""SAM's files by the width of their encoder."""


class MaskSAMTrainer(FrozenEncoderMixin, PlannedTrainer):
    """MaskSAM (arXiv 2403.14103): queries are matched with classes once a patch, one loss for the set.

    The validation loss in nnU-Net's log is nnU-Net's own, of the normalised scores: it compares with other trainers'
    and not with the training loss.
    """

    planner_from_scratch = "MaskSAMPlannerTiny"
    set_loss = SetLoss(volumetric=True)
    initial_learning_rate = 5e-4
    decay = 3e-5
    gradient_clip = 12.0
    warmup_steps = 50
    """Steps over which the learning rate rises to nnU-Net's schedule."""

    def prepare_plans(self, plans: dict, configuration: str, dataset_json: dict) -> None:
        adopt_plans(plans, configuration, dataset_json)

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the network from the plans alone; nnU-Net's predictor calls this too."""
        return MaskSAM(network_config(configuration_manager, num_input_channels, num_output_channels))

    @property
    def masksam(self) -> MaskSAM:
        return self.unwrapped_network

    @property
    def released_weights(self) -> str:
        return RELEASED_WEIGHTS.get(self.masksam.config.embed_dim, "sam_vit_b_01ec64.pth")

    @property
    def trains_encoder(self) -> bool:
        return not self.masksam.config.freeze_trunk

    def _do_i_compile(self) -> bool:
        """No: attention is fused already, and each mode would be compiled as a network of its own."""
        return False

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.scheduled_lr = self.optimizer.param_groups[0]["lr"]
        self.steps_done = self.current_epoch * self.num_iterations_per_epoch

    def warm_up(self) -> None:
        """Set the learning rate of the next step."""
        self.steps_done += 1
        rate = min(1.0, self.steps_done / self.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.scheduled_lr

    def train_step(self, batch: dict) -> dict:
        self.warm_up()
        self.insist_on_declared_labels(batch["target"])
        data = batch["data"].to(self.device, non_blocking=True)
        targets = self.set_targets(batch["target"].to(self.device, non_blocking=True))
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            prediction = self.network(data)
        loss = self.set_loss(prediction, targets)
        self._update(loss)
        return {"loss": loss.detach().cpu().numpy()}

    def set_targets(self, target) -> SetTargets:
        """What the queries have to find in nnU-Net's target."""
        labels = self.label_manager
        return set_targets(
            target,
            num_outputs=labels.num_segmentation_heads,
            has_regions=labels.has_regions,
            ignore_label=labels.ignore_label,
        )

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """MaskSAM is supervised by auxiliary masks and boxes, not at every resolution."""
