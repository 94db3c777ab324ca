"""M-SAM trainers of other lengths, in nnU-Net's manner: a variant is a subclass, never a flag."""

from __future__ import annotations

import torch

from msam_nn.trainers.msam.trainer import MSAMTrainer


def _with_epochs(number: int) -> type[MSAMTrainer]:
    """A subclass that trains ``number`` epochs; module-level and named, so that it pickles."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        MSAMTrainer.__init__(self, plans, configuration, fold, dataset_json, device)
        self.num_epochs = number

    name = f"MSAMTrainer_{number}epoch{'s' if number > 1 else ''}"
    doc = f"MSAMTrainer for {number} epoch{'s' if number > 1 else ''}."
    return type(name, (MSAMTrainer,), {"__init__": __init__, "__module__": __name__, "__doc__": doc})


MSAMTrainer_1epoch = _with_epochs(1)
MSAMTrainer_5epochs = _with_epochs(5)
MSAMTrainer_20epochs = _with_epochs(20)
MSAMTrainer_50epochs = _with_epochs(50)
MSAMTrainer_100epochs = _with_epochs(100)
MSAMTrainer_250epochs = _with_epochs(250)

FULL_FINETUNING = {"lora_rank": 0, "freeze_encoder": False}
"""The image encoder itself trains, and nothing is added to it."""


class MSAMFullFinetuneTrainer(MSAMTrainer):
    """MSAMTrainer on pretrained plans with the image encoder trained too, and no LoRA.

    It takes the same ``-pretrained_weights`` file as MSAMTrainer and, since everything moves, the tenth of its learning
    rate that the released M-SAM code uses for pretrained parts.
    """

    initial_learning_rate = 8e-5
    architecture_changes = FULL_FINETUNING
