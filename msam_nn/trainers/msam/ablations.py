"""The ablations of the M-SAM paper (arXiv 2403.05912, Table 3): each takes one thing away.

Each comes with the recipe of :class:`MSAMTrainer` and, to reproduce the table, with the paper's own. They take the
``-pretrained_weights`` file of the full model; what they lack is not read from it.
"""

from __future__ import annotations

from msam_nn.trainers.msam.paper import PUBLISHED, MSAMPaperTrainer
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.msam.variants import FULL_FINETUNING, MSAMFullFinetuneTrainer

WITHOUT_MEA = {"adapter": False}
FROZEN_ENCODER = {"lora_rank": 0, "freeze_encoder": True, "initial_masks": False}


class MSAMWithoutMEATrainer(MSAMTrainer):
    """The mask embedding is added to the image embedding, as in SAM, instead of fused by the mask-enhanced adapter."""

    architecture_changes = WITHOUT_MEA


class FrozenByTrainerMixin:
    """The trainer freezes the encoder, whatever the plans say."""

    what_freezes = property(lambda self: f"{type(self).__name__} freezes")
    way_from_scratch = "use MSAMTrainer"

    @property
    def plans_for_weights(self) -> str:
        return "MSAMPretrainedPlans" if self.msam.config.pyramid else super().plans_for_weights


class MSAMFrozenEncoderTrainer(FrozenByTrainerMixin, MSAMTrainer):
    """The image encoder stays as loaded: it neither trains nor gets LoRA. Needs pretrained weights."""

    architecture_changes = FROZEN_ENCODER


class MSAMPaperTrainer_withoutMEA(MSAMPaperTrainer):
    """:class:`MSAMWithoutMEATrainer` with the paper's recipe."""

    architecture_changes = {**PUBLISHED, **WITHOUT_MEA}


class MSAMPaperTrainer_frozenEncoder(FrozenByTrainerMixin, MSAMPaperTrainer):
    """:class:`MSAMFrozenEncoderTrainer` with the paper's recipe."""

    architecture_changes = {**PUBLISHED, **FROZEN_ENCODER}


class MSAMPaperTrainer_fullFinetune(MSAMPaperTrainer):
    """:class:`MSAMFullFinetuneTrainer` with the paper's recipe."""

    initial_learning_rate = MSAMFullFinetuneTrainer.initial_learning_rate
    architecture_changes = {**PUBLISHED, **FULL_FINETUNING}
