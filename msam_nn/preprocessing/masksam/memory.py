"""How much memory a training step of MaskSAM takes, by formula: what the planner fits patch and batch size against.

Counted is what :mod:`msam_nn.preprocessing.memory` counts for M-SAM, in the same units. Symbols are the paper's: ``T``
slices of ``h x w`` tokens, ``N`` queries, ``E`` and ``D`` the widths of trunk and decoder.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log2, prod

import torch

from msam_nn.networks.encoders.sam import RGB
from msam_nn.networks.masksam import MaskSAM, MaskSAMConfig
from msam_nn.networks.masksam.prompt_generator import QUERY_MAP
from msam_nn.networks.masksam.stem import LARGE_WIDTHS, WIDTH
from msam_nn.preprocessing.memory import GB, TRANSIENT

MASK_POINTS = 32_768
"""Pixels of a mask that the losses look at, at most."""

COUNTED_SLICES = 2

TOKENS = 8
"""Of a decoder pass: IoU, four masks, two corners, class."""


def training_memory_gb(config: MaskSAMConfig, batch_size: int) -> float:
    """Peak memory in GB of a training step of :class:`~msam_nn.trainers.masksam.trainer.MaskSAMTrainer`."""
    return (weights_bytes(config) + batch_size * bytes_per_sample(config)) / GB


def weights_bytes(config: MaskSAMConfig) -> int:
    """Every parameter; of those that train also gradient and two moments."""
    trained, total = count_parameters(config)
    return 4 * total + 12 * trained


def count_parameters(config: MaskSAMConfig) -> tuple[int, int]:
    """Trained and all parameters. Few depend on the number of slices; the rest is counted on a small patch."""
    edge, n_slices = config.voxels_per_token, config.patch_size[0]
    trained, total = _count_on_meta_device(replace(config, patch_size=(COUNTED_SLICES, edge, edge)))
    deeper = _depth_parameters(config, n_slices) - _depth_parameters(config, COUNTED_SLICES)
    return trained + deeper, total + deeper


def _depth_parameters(config: MaskSAMConfig, n_slices: int) -> int:
    """Those of the adapters along depth (DMLP), and of one vector a slice in trunk and decoder."""
    adapters = 3 * config.decoder_depth + 1
    return adapters * (8 * n_slices**2 + 5 * n_slices) + n_slices * (config.embed_dim + config.decoder_dim)


@cache
def _count_on_meta_device(config: MaskSAMConfig) -> tuple[int, int]:
    with torch.device("meta"):
        parameters = list(MaskSAM(config).parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def bytes_per_sample(config: MaskSAMConfig) -> int:
    """Activations of one sample: trunk, prompt generator, decoder, full-resolution masks and losses, the batch."""
    slice_voxels = prod(config.patch_size[1:])
    compared = config.patch_size[0] * min(slice_voxels, MASK_POINTS)
    outputs = 2 * config.n_queries * prod(config.patch_size)
    batch = (config.in_channels + 2) * prod(config.patch_size)
    values = stem_values(config) + trunk_values(config) + generator_values(config) + decoder_values(config)
    return round(4 * TRANSIENT * (values + outputs + 10 * config.num_classes * compared + batch))


def stem_values(config: MaskSAMConfig) -> int:
    """Values one sample saves before the trunk: each block what goes into convolution, norm and activation."""
    voxels, factor = prod(config.patch_size), config.upsampling
    if factor == 1:
        return voxels * (config.in_channels + 2 * (WIDTH + RGB))
    narrow, wide = LARGE_WIDTHS
    between = sum(3 * narrow * 4**step for step in range(1, int(log2(factor))))
    return voxels * (config.in_channels + 2 * narrow + between + factor**2 * (5 * wide + 2 * RGB))


def trunk_values(config: MaskSAMConfig) -> int:
    """Values one sample saves in the trunk and its neck. Linear layers that are frozen do not keep what they read."""
    (h, w), width, depth = config.grid_size, config.embed_dim, config.depth
    blocks = []
    for i in range(depth):
        windowed = config.window_size and i not in config.global_blocks
        codes = min(h, config.window_size) + min(w, config.window_size) if windowed else h + w
        blocks.append((14.5 if config.freeze_trunk else 22.5) * width + (4 * codes + 1) * config.num_heads)
    kept = depth * width + max(blocks) if config.checkpoint_blocks else sum(blocks)
    return round(config.patch_size[0] * h * w * (kept + width + 3 * config.decoder_dim))


def generator_values(config: MaskSAMConfig) -> int:
    """Values one sample saves in the prompt generator: three of every level's width a step of a skip path, four where
    it is joined, and the small maps of the heads."""
    n_slices, widths = config.patch_size[0], config.generator_widths
    tokens, finest = n_slices * prod(config.grid_size), int(log2(config.voxels_per_token))
    values = 5 * widths[0] * tokens
    for step, (below, width) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
        level = min(step, finest)
        joined = 4 * width if level == step else below + 3 * width
        values += tokens * (joined * 4**level + sum(3 * width * 4**i for i in range(1, level + 1)))
    return values + n_slices * QUERY_MAP**2 * (sum(widths) + 5 * config.n_queries)


def decoder_values(config: MaskSAMConfig) -> int:
    """Values one sample saves in prompt encoder and mask decoder, which run once a query and slice."""
    passes = config.n_queries * config.patch_size[0]
    keys, depth, frozen = passes * prod(config.grid_size), config.decoder_depth, config.freeze_trunk
    token = 21 + (1 if frozen else 2) * config.decoder_mlp_dim / config.decoder_dim
    layer = (5.25 if frozen else 7.3) * keys + token * TOKENS * passes
    layers = (depth + 1) * keys + layer if config.checkpoint_blocks else depth * layer
    last = (1 if frozen else 3) * keys + 6.5 * TOKENS * passes
    upscaling = (8 if frozen else 7.1) * keys + 10 * passes
    mask_prompts = 0 if frozen else 122 * keys
    return round(config.decoder_dim * (layers + last + upscaling) + mask_prompts)
