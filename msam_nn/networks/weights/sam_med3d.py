"""Released weights and ours: one key map, both ways.

The released files are SAM-Med3D's (``image_encoder.*``, ``prompt_encoder.*``, ``mask_decoder.*``) and M-SAM's
(``lora_sam.sam.<the same>`` with LoRA inside, and ``bidatt.*``), each under ``model_state_dict``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from msam_nn.networks.layers.depth_adapter import SAM_PARTS
from msam_nn.networks.layers.lora import lora_update
from msam_nn.networks.msam.network import MSAM
from msam_nn.networks.weights.safe_load import CheckpointError, load_plain

RENAMES = (
    (r"^lora_sam\.sam\.|^sam\.(?=image_encoder|prompt_encoder|mask_decoder)", ""),
    (r"\.attn\.qkv\.qkv\.", ".attn.qkv."),
    (r"\.attn\.qkv\.linear_([ab]_[qv])\.", r".attn.qkv.lora_\1."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "prompt_encoder.position.gaussian_matrix"),
    (r"^bidatt\.bidirectional_attentions\.0\.(image|prompt)_multiheadattn\.", r"bidatt.enhancement.\1_attention."),
    (r"^bidatt\.bidirectional_attentions\.0\.mlp1\.", "bidatt.enhancement.image_mlp."),
    (r"^bidatt\.bidirectional_attentions\.0\.mlp2\.", "bidatt.enhancement.prompt_mlp."),
    (r"^bidatt\.bidirectional_attentions\.0\.", "bidatt.enhancement."),
    (r"^bidatt\.multi_head_self_attention\.", "bidatt.attention."),
    (r"^bidatt\.", "mask_enhanced_adapter."),
)
"""Applied in order, they turn a released key into ours."""

STATE_DICT_KEYS = ("model_state_dict", "state_dict", "network_weights")
"""Where files keep their weights: SAM-Med3D and M-SAM, others, nnU-Net."""


@dataclass
class LoadReport:
    """What :func:`load_reference_checkpoint` did.

    kind: ``"SAM-Med3D"`` or ``"M-SAM"``.
    loaded, new: parameter names of the network taken from the file, and left at their initial values.
    adapted: names whose tensors had to be reshaped (input channels).
    merged: names of weights to which the file's LoRA was added, since the network has none.
    unused: names in the file that the network has no place for.
    """

    kind: str
    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        new = sorted({name.split(".")[0] if ".lora_" not in name else "LoRA" for name in self.new})
        text = f"{self.kind} weights: {len(self.loaded)} tensors loaded"
        text += f", {len(self.new)} new ({', '.join(new)})" if self.new else ", none new"
        text += f", adapted: {', '.join(self.adapted)}" if self.adapted else ""
        text += f", LoRA merged into {len(self.merged)} weights" if self.merged else ""
        unused = sorted({our_key(name).split(".")[0] for name in self.unused})
        return text + (f", {len(self.unused)} in the file unused ({', '.join(unused)})" if self.unused else "")


def our_key(released: str) -> str:
    """The name in an :class:`MSAM` of a released parameter."""
    for pattern, replacement in RENAMES:
        released = re.sub(pattern, replacement, released)
    return released


def find_state_dict(content: Mapping) -> Mapping:
    """The weights in a loaded file, which keeps them under one of :data:`STATE_DICT_KEYS`, or is one itself."""
    return next((content[key] for key in STATE_DICT_KEYS if isinstance(content.get(key), Mapping)), content)


def read_state_dict(source: str | Path | Mapping) -> Mapping[str, Tensor]:
    """The weights of a foreign file, read without running any code in it, or of what was read from one.

    Raises:
        CheckpointError: if it holds no state dict.
    """
    content = source if isinstance(source, Mapping) else load_plain(source)
    weights = find_state_dict(content) if isinstance(content, Mapping) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        name = "The checkpoint" if isinstance(source, Mapping) else source
        raise CheckpointError(f"{name} holds no state dict (expected under the key 'model_state_dict').")
    return weights


def load_reference_checkpoint(model: MSAM, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
    """Load SAM-Med3D or M-SAM weights, told apart by their keys, into a network of the released geometry.

    The adapter, LoRA and class embeddings keep their initial values where the file has none. A patch embedding of one
    input channel is repeated for several and divided by their number. LoRA in the file is added to the weights it
    adapts if the network has none.

    Arguments:
        source: a file, a checkpoint read from one, or its state dict.

    Raises:
        CheckpointError: for a file of another kind or other shapes; names what was expected. The model is untouched.
    """
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    released = read_state_dict(source)
    names = {our_key(key.removeprefix("module.")): key for key in released}
    found = {key: released[name] for key, name in names.items()}
    expected = [part for part in SAM_PARTS if not any(key.startswith(part) for key in found)]
    if expected:
        raise CheckpointError(
            f"{name} is neither a SAM-Med3D nor an M-SAM checkpoint: no keys {', '.join(p + '*' for p in expected)} "
            f"(optionally under lora_sam.sam.*); it has {', '.join(list(released)[:3])}, ..."
        )
    state = model.state_dict()
    has_adapter = any(key.startswith("mask_enhanced_adapter.") for key in found)
    report = LoadReport("M-SAM" if has_adapter or any(".lora_" in key for key in found) else "SAM-Med3D")
    if model.config.lora_rank == 0:
        report.merged = merge_lora(found, name)
    for key, tensor in state.items():
        if key not in found:
            optional = key.startswith(("mask_enhanced_adapter.", "class_embedding")) or ".lora_" in key
            if not optional or (key.startswith("mask_enhanced_adapter.") and has_adapter):
                raise CheckpointError(f"{name} has no tensor for {key}: it is incomplete or of another architecture.")
            report.new.append(key)
            continue
        value = found[key]
        if key == "image_encoder.patch_embed.proj.weight" and value.shape[1] == 1 and tensor.shape[1] > 1:
            value = value.expand(-1, tensor.shape[1], -1, -1, -1) / tensor.shape[1]
            report.adapted.append(key)
        if value.shape != tensor.shape:
            raise CheckpointError(
                f"{name}: {key} has shape {tuple(value.shape)}, this network needs {tuple(tensor.shape)}; "
                f"released weights fit MSAMConfig.sam_med3d() only."
            )
        state[key] = value
        report.loaded.append(key)
    report.unused = [names[key] for key in found if key not in state]
    model.load_state_dict(state)
    return report


def merge_lora(weights: dict[str, Tensor], file: str) -> list[str]:
    """Replace the LoRA matrices in a state dict of our names by their sum with the weights they adapt, in place.

    Returns:
        The names of those weights.

    Raises:
        CheckpointError: if a set of matrices is incomplete; ``file`` says of what.
    """
    prefixes = {key.split("lora_")[0] for key in weights if ".lora_" in key}
    for prefix in prefixes:
        matrices = [weights.pop(f"{prefix}lora_{which}.weight", None) for which in ("a_q", "b_q", "a_v", "b_v")]
        if any(matrix is None for matrix in matrices) or f"{prefix}weight" not in weights:
            raise CheckpointError(f"{file} has an incomplete LoRA at {prefix}*: it cannot be merged.")
        weights[f"{prefix}weight"] = weights[f"{prefix}weight"] + lora_update(*matrices)
    return sorted(f"{prefix}weight" for prefix in prefixes)
