"""What viewers are told about the model when they connect."""

from __future__ import annotations

from typing import Any

from msam_nn import __version__
from msam_nn.server.settings import Settings

SCRIBBLE_THICKNESS = 2
UNKNOWN_LICENSE = "!!MISSING!!"


def capabilities(settings: Settings) -> dict[str, Any]:
    """The capability document of nnInteractive's protocol; the last keys are ours, and viewers ignore them."""
    model = settings.model
    return {
        "supported_interactions": dict.fromkeys(("points", "bbox2d", "bbox3d", "scribble", "lasso"), True),
        "channel_mapping": {"prev_seg": 0},
        "num_interaction_channels": 1,
        "supports_initial_label": True,
        "supports_zero_shot_label_refinement": model.refines_without_clicks,
        "preferred_scribble_thickness": [SCRIBBLE_THICKNESS] * 3,
        "interaction_decay": None,
        "patch_size": model.patch_size,
        "do_autozoom": True,
        "inference_session_version": f"msam_nn {__version__}",
        "license": UNKNOWN_LICENSE,
        "supports_undo": True,
        "model_name": settings.model_name,
        "labels": {c.name: c.label for c in model.classes},
        "label": model.classes[settings.class_index].name,
        "channel_names": model.channel_names,
        "automatic": settings.automatic,
    }
