"""SAM-Med3D as a baseline."""

from __future__ import annotations

from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam.paper import PUBLISHED
from msam_nn.trainers.msam.trainer import MSAMTrainer
from msam_nn.trainers.msam.variants import FULL_FINETUNING


class SAMMed3DTrainer(MSAMTrainer):
    """SAM-Med3D (arXiv 2310.15161): no adapter, no LoRA, everything trains, and clicks are tokens only.

    Trained as SAM-Med3D is, with ten clicks drawn from the error, the first on an empty mask. Everything else
    (plans, augmentation, optimizer, loss) is :class:`MSAMTrainer`'s, so that a comparison shows the method. SAM's two
    extra stages without a new click are left out. It never learns to predict without clicks: nnU-Net's validation and
    ``nnUNetv2_predict`` run, but their Dice says nothing about the method; judge it with ``msam clicks``.
    """

    click_recipe = ClickRecipe(p_automatic=0, p_from_nothing=1, p_long=0, p_central=0, corrected=False)
    architecture_changes = {**PUBLISHED, "adapter": False, "click_sigma": 0.0, **FULL_FINETUNING}

    @property
    def n_stages(self) -> int:
        return 10


class SAMMed3DFinetuneTrainer(SAMMed3DTrainer):
    """From SAM-Med3D's released weights, with the learning rate of :class:`MSAMFullFinetuneTrainer`."""

    initial_learning_rate = 8e-5
