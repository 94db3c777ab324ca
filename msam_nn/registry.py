"""The names nnU-Net can ask for, and where their classes live.

To add a class, add its name here. Nothing is imported before the name is asked for.
"""

from importlib import import_module
from typing import NamedTuple

from msam_nn.trainer_names import parse


class Lookup(NamedTuple):
    """One of nnU-Net's searches by name.

    Arguments:
        what: what nnU-Net looks for there, in words and with its article.
        classes: class name to ``module:attribute``.
    """

    what: str
    classes: dict[str, str]


def _classes(module: str, *names: str) -> dict[str, str]:
    return {name: f"{module}:{name}" for name in names}


PLANNERS = {
    **_classes("msam_nn.preprocessing.planners", "MSAMPlanner"),
    **_classes("msam_nn.preprocessing.pretrained_planner", "MSAMPretrainedPlanner"),
    **_classes(
        "msam_nn.preprocessing.masksam.planner",
        "MaskSAMPlanner",
        "MaskSAMPlannerTiny",
        "MaskSAMPlannerL",
        "MaskSAMPlannerH",
    ),
}

PREPROCESSORS = _classes("msam_nn.preprocessing.pretrained_preprocessor", "SAMMed3DPreprocessor")

NORMALIZATIONS = _classes("msam_nn.preprocessing.normalization", "SAMMed3DNormalization", "SAMMed3DCTNormalization")

TRAINERS = {
    **_classes("msam_nn.trainers.msam.trainer", "MSAMTrainer"),
    **_classes("msam_nn.trainers.msam.variants", "MSAMFullFinetuneTrainer"),
    **_classes("msam_nn.trainers.msam.paper", "MSAMPaperTrainer"),
    **_classes("msam_nn.trainers.msam.self_prompted", "MSAMSelfPromptedTrainer"),
    **_classes("msam_nn.trainers.msam_unet.trainer", "MSAMUNetTrainer"),
    **_classes("msam_nn.trainers.masksam.trainer", "MaskSAMTrainer"),
    **_classes("msam_nn.trainers.masksam.variants", "MaskSAMSliceMatchingTrainer"),
    **_classes(
        "msam_nn.trainers.msam.ablations",
        "MSAMWithoutMEATrainer",
        "MSAMFrozenEncoderTrainer",
        "MSAMPaperTrainer_withoutMEA",
        "MSAMPaperTrainer_frozenEncoder",
        "MSAMPaperTrainer_fullFinetune",
    ),
    **_classes("msam_nn.trainers.baselines.sam_med3d", "SAMMed3DTrainer", "SAMMed3DFinetuneTrainer"),
    **_classes("msam_nn.trainers.baselines.unetr", "UNETRTrainer"),
    **_classes("msam_nn.trainers.baselines.swin_unetr", "SwinUNETRTrainer"),
    **_classes("msam_nn.trainers.baselines.nnformer", "nnFormerTrainer"),
    **_classes("msam_nn.trainers.baselines.transunet", "TransUNetTrainer"),
    **_classes(
        "msam_nn.trainers.baselines.sam_slices",
        "SAM3DTrainer",
        "SAM3DPretrainedTrainer",
        "MedSATrainer",
        "MedSAPretrainedTrainer",
    ),
}
"""Each of them, and each of nnU-Net's, also exists with a budget in its name: see :func:`budgeted`."""

TRAINER_FOLDER = "training/nnUNetTrainer"

LOOKUPS = {
    "experiment_planning": Lookup("an experiment planner", PLANNERS),
    "preprocessing": Lookup("a preprocessor", PREPROCESSORS),
    "preprocessing/normalization": Lookup("a normalization scheme", NORMALIZATIONS),
    TRAINER_FOLDER: Lookup("a trainer", TRAINERS),
}
"""nnU-Net's searches, by the folder inside ``nnunetv2`` that each one walks."""


def load(target: str) -> type:
    """Import the class behind ``module:attribute``."""
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def is_budgeted(name: str) -> bool:
    """Whether ``name`` is one of our trainers with a budget."""
    budget = parse(name)
    return budget is not None and budget.base in TRAINERS


def budgeted(name: str) -> str:
    """``module:attribute`` of a trainer whose name ends in a budget, such as ``MSAMTrainer_20minutes``."""
    return f"msam_nn.trainers.budgets:{name}"
