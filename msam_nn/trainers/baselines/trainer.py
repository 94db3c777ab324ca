"""What the networks to compare with share: any ``(B, C, D, H, W) -> (B, K, D, H, W)`` module on nnU-Net's machinery."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msam_nn.device import insist_on_device
from msam_nn.errors import UnsupportedError, UserError
from msam_nn.trainers.baselines.recipes import Recipe
from msam_nn.trainers.planned_trainer import PlannedTrainer, finest, resolve_configuration
from msam_nn.trainers.progress import ProgressMixin


def round_patch(patch_size: Sequence[int], multiple: Sequence[int]) -> tuple[int, ...]:
    """The nearest multiples, at least one an axis, and more than one feature-map voxel in all.

    >>> round_patch((40, 56, 40), (16, 16, 16))
    (48, 64, 48)
    >>> round_patch((20, 30, 24), (32, 32, 32))
    (32, 64, 32)
    """
    counts = [max(1, int(edge / m + 0.5)) for edge, m in zip(patch_size, multiple, strict=True)]
    if prod(counts) == 1:  # instance norm cannot train on a single voxel
        counts[max(range(len(counts)), key=lambda axis: patch_size[axis])] = 2
    return tuple(count * m for count, m in zip(counts, multiple, strict=True))


class BaselineTrainer(ProgressMixin, nnUNetTrainer):
    """Trains another group's network with its own recipe; plans, augmentation, loss and evaluation are nnU-Net's.

    A network that needs a patch of certain multiples gets the nearest one: the patch size is changed in the plans
    before nnU-Net copies them to the results, so prediction uses it too. Where the patch grows, the batch size shrinks
    to keep the number of voxels, down to two. Any plans of nnU-Net's will do.
    """

    unwrapped_network = PlannedTrainer.unwrapped_network
    insist_on_declared_labels = PlannedTrainer.insist_on_declared_labels
    recipe: Recipe
    multiple: Sequence[int] = (1, 1, 1)
    """Voxels that each edge of the patch is a multiple of; :meth:`fit_patch` for networks where that is not enough."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        insist_on_device(device)
        self.fit_plans(plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr, self.weight_decay = self.recipe.learning_rate, self.recipe.weight_decay
        planned = self.configuration_manager
        self.planned_scales = self.supervised_scales(planned.patch_size, planned.spacing)
        self.enable_deep_supervision = self.planned_scales is not None

    @classmethod
    def network_for(
        cls, patch_size: Sequence[int], spacing: Sequence[float], in_channels: int, out_channels: int
    ) -> nn.Module:
        """The network for patches ``(D, H, W)`` that :meth:`fit_patch` returned; it gives logits of the same size."""
        raise NotImplementedError

    @classmethod
    def fit_patch(cls, patch_size: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
        """The patch nearest to the planned one that the network takes."""
        return round_patch(patch_size, cls.multiple)

    @classmethod
    def supervised_scales(cls, patch_size: Sequence[int], spacing: Sequence[float]) -> list[list[float]] | None:
        """Resolutions, per axis, of the logits that a deeply supervised network returns, the highest first; None where
        the network has none."""
        return None

    @classmethod
    def fit_plans(cls, plans: dict, configuration: str) -> None:
        """Raises:
        UserError: if the configuration is missing.
        UnsupportedError: for 2D configurations.
        """
        _, planned = resolve_configuration(plans, configuration)
        if len(planned.patch_size) != 3:
            raise UnsupportedError(f"{cls.__name__} is 3D and {configuration} is 2D: use 3d_fullres (or 3d_lowres).")
        patch = cls.fit_patch(planned.patch_size, planned.spacing)
        batch = int(planned.batch_size * prod(planned.patch_size) / prod(patch))
        plans["configurations"][configuration].update(
            patch_size=list(patch), batch_size=min(planned.batch_size, max(2, batch))
        )

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """Build the network from the plans alone; nnU-Net's predictor calls this too."""
        patch, spacing = configuration_manager.patch_size, configuration_manager.spacing
        try:
            network = cls.network_for(patch, spacing, num_input_channels, num_output_channels)
        except ModuleNotFoundError as error:
            raise UserError(
                f'{cls.__name__} needs {error.name}, which is not installed: pip install "msam_nn[baselines]".'
            ) from error
        network.deep_supervision = enable_deep_supervision
        return network

    def initialize(self) -> None:
        super().initialize()
        total = sum(p.numel() for p in self.network.parameters())
        trained = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        patch = " x ".join(map(str, self.configuration_manager.patch_size))
        self.print_to_log_file(f"{type(self).__name__}: {trained:,} of {total:,} parameters train; patch {patch}")

    def train_step(self, batch: dict) -> dict:
        self.insist_on_declared_labels(finest(batch["target"]))
        return super().train_step(batch)

    def configure_optimizers(self):
        return self.recipe.make(self.network, self.num_epochs)

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        return self.planned_scales if self.enable_deep_supervision else None

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        self.unwrapped_network.deep_supervision = enabled and self.enable_deep_supervision
