"""Another matching."""

from __future__ import annotations

from msam_nn.trainers.masksam.losses import SetLoss
from msam_nn.trainers.masksam.trainer import MaskSAMTrainer


class MaskSAMVolumetricTrainer(MaskSAMTrainer):
    """One assignment a patch instead of one a slice, so that a query answers for the same class in all slices."""

    set_loss = SetLoss(volumetric=True)
