"""Training MaskSAM in nnU-Net."""

from __future__ import annotations

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.networks.masksam import MaskSAM
from msam_nn.trainers.frozen_encoder import FrozenEncoderMixin
from msam_nn.trainers.masksam.architecture import adopt_plans, network_config
from msam_nn.trainers.masksam.losses import SetLoss
from msam_nn.trainers.masksam.targets import SetTargets, set_targets
from msam_nn.trainers.optimisation import WarmupPolyLRScheduler
from msam_nn.trainers.planned_trainer import PlannedTrainer


class MaskSAMTrainer(FrozenEncoderMixin, PlannedTrainer):
    """MaskSAM (arXiv 2403.14103): queries of every slice are matched with the classes in it, one loss for the set.

    The validation loss in nnU-Net's log is nnU-Net's own, of the normalised scores: it compares with other trainers'
    and not with the training loss.
    """

    released_weights = "sam_vit_b_01ec64.pth"
    planner_from_scratch = "MaskSAMPlannerTiny"
    set_loss = SetLoss()
    initial_learning_rate = 5e-4
    decay = 3e-5
    gradient_clip = 12.0
    schedule = WarmupPolyLRScheduler

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
    def trains_encoder(self) -> bool:
        return not self.masksam.config.freeze_trunk

    def _do_i_compile(self) -> bool:
        """No: attention is fused already, and each mode would be compiled as a network of its own."""
        return False

    def train_step(self, batch: dict) -> dict:
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
