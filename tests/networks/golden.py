"""Weights anyone can regenerate, the published code's outputs for them, and small networks for quick tests."""

from __future__ import annotations

import os
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.networks.msam import build

CLICKS = (((40, 70, 99), 1), ((12, 64, 30), 0), ((90, 80, 20), 1))

INVERSE_RENAMES = (
    (r"^mask_enhanced_adapter\.attention\.", "bidatt.multi_head_self_attention."),
    (
        r"^mask_enhanced_adapter\.enhancement\.(image|prompt)_attention\.",
        r"bidatt.bidirectional_attentions.0.\1_multiheadattn.",
    ),
    (r"^mask_enhanced_adapter\.enhancement\.image_mlp\.", "bidatt.bidirectional_attentions.0.mlp1."),
    (r"^mask_enhanced_adapter\.enhancement\.prompt_mlp\.", "bidatt.bidirectional_attentions.0.mlp2."),
    (r"^mask_enhanced_adapter\.enhancement\.", "bidatt.bidirectional_attentions.0."),
    (r"^mask_enhanced_adapter\.", "bidatt."),
    (r"^prompt_encoder\.position\.", "prompt_encoder.pe_layer.positional_encoding_"),
)


def golden_folder() -> Path:
    """``golden`` of the shared folder beside the checkout or in ``MSAM_NN_SHARED``; skips the test without one."""
    shared = os.environ.get("MSAM_NN_SHARED") or Path(__file__).resolve().parents[3] / "shared"
    folder = Path(shared) / "golden"
    if not (folder / "msam_reference.npz").is_file():
        pytest.skip(f"no golden values in {folder}; set MSAM_NN_SHARED")
    return folder


def golden_tensor(name: str, shape: tuple[int, ...] | list[int]) -> Tensor:
    """The recipe of the specification, section 9: a tensor from its own name."""
    a = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF).standard_normal(shape)
    if "gaussian_matrix" in name:
        value = a
    elif len(shape) == 1 and name.endswith("weight"):
        value = 1 + 0.1 * a
    elif "rel_pos" in name:
        value = 0.2 * a
    elif len(shape) == 1:
        value = 0.05 * a
    else:
        value = a / np.sqrt(prod(shape[1:]))
    return torch.tensor(value, dtype=torch.float32)


def normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.tensor(np.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


def relative_error(value: Tensor, expected: np.ndarray | Tensor) -> float:
    value, expected = value.detach().double(), torch.as_tensor(expected).double()
    assert value.shape == expected.shape
    return float((value - expected).norm() / expected.norm())


def released_state_dict(model: MSAM) -> dict[str, Tensor]:
    """Tensors from the recipe, under the names of a SAM-Med3D file, plus ``bidatt.*`` if it has an adapter."""
    state = {}
    for key, tensor in model.state_dict().items():
        if key.startswith("class_embedding") or ".lora_" in key:
            continue
        for pattern, replacement in INVERSE_RENAMES:
            key = re.sub(pattern, replacement, key)
        state[key] = golden_tensor(key, tuple(tensor.shape))
    return state


def as_msam_file(state: dict[str, Tensor], rank: int = 2) -> dict[str, Tensor]:
    """The same tensors under the names of an M-SAM training checkpoint, with random LoRA weights."""
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("bidatt."):
            renamed[key] = tensor
            continue
        key = f"lora_sam.sam.{key}"
        renamed[key.replace(".attn.qkv.", ".attn.qkv.qkv.")] = tensor
        if key.endswith(".attn.qkv.weight"):
            dim = tensor.shape[1]
            for which in "qv":
                for letter, shape in (("a", (rank, dim)), ("b", (dim, rank))):
                    name = f"{key.removesuffix('weight')}linear_{letter}_{which}.weight"
                    renamed[name] = golden_tensor(name, shape)
    return renamed


def tiny_config(**changes: Any) -> MSAMConfig:
    """Grid 2 x 3 x 4, one windowed block with padding and one global."""
    small = dict(
        in_channels=1,
        num_classes=1,
        patch_size=(16, 24, 32),
        token_size=(8, 8, 8),
        embed_dim=24,
        depth=2,
        num_heads=2,
        window_size=3,
        global_blocks=(1,),
        decoder_dim=48,
        decoder_heads=2,
        decoder_mlp_dim=32,
        adapter_heads=2,
    )
    return MSAMConfig(**{**small, **changes})


def tiny_model(*, seed: int = 0, **changes: Any) -> MSAM:
    """A small network whose every parameter matters, but class embeddings and LoRA keep their initial values."""
    torch.manual_seed(seed)
    model = build(tiny_config(**changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("class_embedding") and ".lora_" not in name:
                parameter.copy_(golden_tensor(f"{seed}{name}", tuple(parameter.shape)))
        model.prompt_encoder.position.gaussian_matrix.copy_(
            golden_tensor("gaussian_matrix", tuple(model.prompt_encoder.position.gaussian_matrix.shape))
        )
    return model


def tiny_image(model: MSAM, batch: int = 2) -> Tensor:
    return normal(7, (batch, model.config.in_channels, *model.config.patch_size))


def some_clicks(model: MSAM, batch: int = 2, classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Two clicks a class, one of them positive."""
    k = model.config.num_classes if classes is None else classes
    size = torch.tensor(model.config.patch_size)
    points = (torch.rand(batch, k, 2, 3, generator=torch.Generator().manual_seed(4)) * size).long()
    return points, torch.tensor([1, 0]).expand(batch, k, 2)
