"""The recipe of the M-SAM paper."""

from __future__ import annotations

from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from msam_nn.trainers.augmentation import flips_alone
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.optimisation import StepLRScheduler

PUBLISHED = {"pyramid": [], "initial_masks": False}
"""Masks of four cells a token, decoded anew at each stage."""


class MSAMPaperTrainer(MSAMTrainer):
    """As published (arXiv 2403.05912, section 4.1): ten stages of clicks from an empty mask, random flips as the only
    augmentation, 200 epochs, AdamW with learning rate 8e-4 and weight decay 0.1, a tenth of it at 120 and at 180.

    It learns no automatic prediction: use it with clicks. Patches are nnU-Net's, not 128^3 crops around the label.
    """

    click_recipe = ClickRecipe(p_automatic=0, p_from_nothing=1, p_long=0, p_central=0, corrected=False)
    schedule = StepLRScheduler
    architecture_changes = PUBLISHED

    def initialize(self) -> None:
        self.num_epochs = 200
        self.oversample_foreground_percent = 1.0
        super().initialize()

    @property
    def n_stages(self) -> int:
        return 10

    @staticmethod
    def get_training_transforms(*args, **kwargs) -> ComposeTransforms:
        return flips_alone(MSAMTrainer.get_training_transforms(*args, **kwargs))
