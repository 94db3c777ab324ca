"""Another matching."""

from __future__ import annotations

from msam_nn.trainers.masksam.losses import SetLoss
from msam_nn.trainers.masksam.trainer import MaskSAMTrainer


class MaskSAMSliceMatchingTrainer(MaskSAMTrainer):
    """One assignment a slice instead of one a patch, as the release does."""

    set_loss = SetLoss()
