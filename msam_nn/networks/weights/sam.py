"""Released weights of SAM (``sam_vit_b_01ec64.pth`` and its larger siblings), into networks built around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from msam_nn.networks.layers.depth_adapter import SAM_PARTS, sam_names
from msam_nn.networks.masksam.config import TRUNKS
from msam_nn.networks.weights.safe_load import CheckpointError
from msam_nn.networks.weights.sam_med3d import LoadReport, read_state_dict

RELEASED_MATRIX = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
OUR_MATRIX = "prompt_encoder.position.gaussian_matrix"
"""The one tensor that has a name of its own here; all others have SAM's."""

PATCH_EMBEDDING = "image_encoder.patch_embed.proj.weight"

HQ_SAM = re.compile(r"^mask_decoder\.(hf_|compress_vit_feat|embedding_encoder|embedding_maskfeature)")
"""What HQ-SAM (arXiv 2306.01567) adds to SAM's decoder."""

LISTED = 3
"""Names that an error lists before it counts the rest."""


def is_sam_state(weights: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is SAM's, or of one of its 2D relatives."""
    return PATCH_EMBEDDING in weights and weights[PATCH_EMBEDDING].ndim == 4


def load_sam(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
    """Load SAM's weights into every part of SAM that the model has: its ``image_encoder``, ``prompt_encoder`` and
    ``mask_decoder``. Adapters inside them keep their initial values, and so does all the rest of the model.

    Arguments:
        source: a file, a checkpoint read from one, or its state dict.

    Raises:
        CheckpointError: if the file is of another kind or geometry, lacks a tensor, or holds one too many in a part
            that the model has; the model is untouched.
    """
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    released = {OUR_MATRIX if key == RELEASED_MATRIX else key: value for key, value in read_state_dict(source).items()}
    state, expected = model.state_dict(), sam_names(model)
    _refuse_relatives(released, state, name)
    parts = tuple(part for part in SAM_PARTS if any(key.startswith(part) for key in expected))
    missing = [RELEASED_MATRIX if key == OUR_MATRIX else key for key in expected if key not in released]
    if missing:
        raise CheckpointError(
            f"{name} has no tensor for {_list(missing)}: it is incomplete or of another architecture."
        )
    surplus = [key for key in released if key.startswith(parts) and key not in set(expected)]
    if surplus:
        raise CheckpointError(f"{name} holds what SAM does not have: {_list(surplus)}. It is of another architecture.")
    for key in expected:
        if released[key].shape != state[key].shape:
            raise CheckpointError(
                f"{name}: {key} has shape {tuple(released[key].shape)}, this network needs {tuple(state[key].shape)}."
            )
    model.load_state_dict({**state, **{key: released[key] for key in expected}})
    return LoadReport(
        "SAM",
        loaded=expected,
        new=[key for key in state if key not in set(expected)],
        unused=[key for key in released if not key.startswith(parts)],
    )


def _refuse_relatives(released: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    """One sentence for each kind of file that is easily taken for SAM's.

    Raises:
        CheckpointError: if it is one.
    """
    embedding = next((tensor for key, tensor in released.items() if key.endswith(PATCH_EMBEDDING)), None)
    if embedding is not None and embedding.ndim == 5:
        raise CheckpointError(
            f"{name} holds a 3D network's weights (SAM-Med3D's or M-SAM's), this network is built around SAM's 2D "
            f"ones: take sam_vit_b_01ec64.pth or a larger one."
        )
    if PATCH_EMBEDDING not in released:
        raise CheckpointError(
            f"{name} is no file of SAM's weights (sam_vit_b_01ec64.pth or a larger one): it has no {PATCH_EMBEDDING}."
        )
    if any(HQ_SAM.match(key) for key in released):
        raise CheckpointError(f"{name} holds HQ-SAM's weights, whose mask decoder is another: take SAM's own.")
    found, needed = _trunk(released), _trunk(state)
    if found != needed:
        advice = (
            f"its {needed}: take the other file."
            if needed.startswith("ViT-")
            else f"an {needed}, which no file of SAM's fits: train without -pretrained_weights, or plan with a larger "
            f"-gpu_memory_target."
        )
        raise CheckpointError(f"{name} holds SAM's {found}, these plans are for {advice}")


def _trunk(weights: Mapping[str, Tensor]) -> str:
    """Name of the image encoder in a state dict, or its numbers."""
    width = len(weights[PATCH_EMBEDDING])
    depth = len({key.split(".")[2] for key in weights if key.startswith("image_encoder.blocks.")})
    for trunk, geometry in TRUNKS.items():
        if trunk != "tiny" and (geometry["embed_dim"], geometry["depth"]) == (width, depth):
            return f"ViT-{trunk[-1].upper()}"
    return f"encoder of width {width} with {depth} blocks"


def _list(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
