"""Released weights and ours: one key map, both ways.

The released files are SAM-Med3D's (``image_encoder.*``, ``prompt_encoder.*``, ``mask_decoder.*``) and M-SAM's
(``lora_sam.sam.<the same>`` with LoRA inside, and ``bidatt.*``), each under ``model_state_dict``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from msam_nn.networks.msam import MSAM

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

SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")


class CheckpointError(ValueError):
    """A file that does not hold what the network needs."""


@dataclass
class LoadReport:
    """What :func:`load_reference_checkpoint` did.

    kind: ``"SAM-Med3D"`` or ``"M-SAM"``.
    loaded, new: parameter names of the network taken from the file, and left at their initial values.
    adapted: names whose tensors had to be reshaped (input channels).
    """

    kind: str
    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        new = sorted({name.split(".")[0] if ".lora_" not in name else "LoRA" for name in self.new})
        text = f"{self.kind} weights: {len(self.loaded)} tensors loaded"
        text += f", {len(self.new)} new ({', '.join(new)})" if self.new else ", none new"
        return text + (f", adapted: {', '.join(self.adapted)}" if self.adapted else "")


def our_key(released: str) -> str:
    """The name in an :class:`MSAM` of a released parameter."""
    for pattern, replacement in RENAMES:
        released = re.sub(pattern, replacement, released)
    return released


def read_state_dict(path: str | Path) -> Mapping[str, Tensor]:
    """Read a foreign file without running any code in it.

    Raises:
        CheckpointError: if it holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch file of plain tensors: {error}".split("\n")[0]
        ) from error
    if isinstance(content, Mapping):
        for key in ("model_state_dict", "state_dict", "network_weights"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict (expected under the key 'model_state_dict').")
    return content


def load_reference_checkpoint(model: MSAM, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
    """Load SAM-Med3D or M-SAM weights, told apart by their keys, into a network of the released geometry.

    The adapter, LoRA and class embeddings keep their initial values where the file has none. A patch embedding of one
    input channel is repeated for several and divided by their number.

    Raises:
        CheckpointError: for a file of another kind or other shapes; names what was expected. The model is untouched.
    """
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    released = source if isinstance(source, Mapping) else read_state_dict(source)
    released = {key.removeprefix("module."): tensor for key, tensor in released.items()}
    found = {our_key(key): tensor for key, tensor in released.items()}
    expected = [part for part in SAM_PARTS if not any(key.startswith(part) for key in found)]
    if expected:
        raise CheckpointError(
            f"{name} is neither a SAM-Med3D nor an M-SAM checkpoint: no keys {', '.join(p + '*' for p in expected)} "
            f"(optionally under lora_sam.sam.*); it has {', '.join(list(released)[:3])}, ..."
        )
    has_adapter = any(key.startswith("mask_enhanced_adapter.") for key in found)
    report = LoadReport("M-SAM" if has_adapter or any(".lora_" in key for key in found) else "SAM-Med3D")
    state = model.state_dict()
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
    model.load_state_dict(state)
    return report
