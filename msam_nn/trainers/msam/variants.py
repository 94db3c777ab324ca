"""Fine-tuning everything."""

from __future__ import annotations

from msam_nn.trainers.msam.trainer import MSAMTrainer

FULL_FINETUNING = {"lora_rank": 0, "freeze_encoder": False}
"""The image encoder itself trains, and nothing is added to it."""


class MSAMFullFinetuneTrainer(MSAMTrainer):
    """MSAMTrainer on pretrained plans with the image encoder trained too, and no LoRA.

    It takes the same ``-pretrained_weights`` file as MSAMTrainer and, since everything moves, the tenth of its learning
    rate that the released M-SAM code uses for pretrained parts.
    """

    initial_learning_rate = 8e-5
    architecture_changes = FULL_FINETUNING
