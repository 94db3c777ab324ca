"""Weights and plans of MaskSAM."""

from __future__ import annotations

import json

import torch

from msam_nn.networks.masksam import BUILDER, MaskSAMConfig

from .weights import convert
from .world import World, attempt


def convert_sam(world: World, weights: dict, patch: tuple[int, int, int] = (4, 32, 32), **network) -> list[str]:
    """Convert ``weights`` for plans of a small MaskSAM network with a frozen trunk."""
    config = MaskSAMConfig(
        in_channels=1, num_classes=3, patch_size=(4, 32, 32), n_queries=8, embed_dim=24, depth=4, num_heads=2,
        global_blocks=(), decoder_dim=16, decoder_heads=2, decoder_mlp_dim=32, generator_widths=(16, 8, 8, 8, 8),
    )  # fmt: skip
    plans = json.loads((world.preprocessed / "MSAMPlans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"].update(
        patch_size=patch,
        architecture={
            "network_class_name": BUILDER,
            "arch_kwargs": {**config.to_arch_kwargs(), **network},
            "_kw_requires_import": [],
        },
    )
    (world.preprocessed / "MaskSAMPlans.json").write_text(json.dumps({**plans, "plans_name": "MaskSAMPlans"}))
    torch.save(weights, world.root / "weights.pth")
    return convert(world, "-p", "MaskSAMPlans")


def sam(width: int = 24, depth: int = 4, *more: str) -> dict:
    """The tensors by which a file of SAM's is known."""
    blocks = {f"image_encoder.blocks.{i}.norm1.weight": torch.ones(width) for i in range(depth)}
    embedding = {"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}
    return {**embedding, **blocks, **{name: torch.zeros(1) for name in more}}


@attempt("SAM-Med3D's weights for MaskSAM", "holds a 3D network's weights")
def _(world):
    return convert_sam(world, {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 1, 16, 16, 16)})


@attempt("HQ-SAM's weights for MaskSAM", "holds HQ-SAM's weights")
def _(world):
    return convert_sam(world, sam(24, 4, "mask_decoder.hf_token.weight"))


@attempt("SAM's weights for plans of a small trunk of MaskSAM's own", "which no file of SAM's fits")
def _(world):
    return convert_sam(world, sam(1280, 32))


@attempt("an incomplete file of SAM's", "has no tensor for")
def _(world):
    return convert_sam(world, sam())


@attempt("more classes than MaskSAM has queries", "n_queries 2 must be at least num_classes 3")
def _(world):
    return convert_sam(world, sam(), n_queries=2)


@attempt("a MaskSAM patch that tokens do not divide", "does not divide into tokens of 16 x 16")
def _(world):
    return convert_sam(world, sam(), patch=(4, 32, 40))
