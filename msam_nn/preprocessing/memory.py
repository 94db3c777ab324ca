"""How much memory a training step takes, by formula: what the planner fits patch and batch size against.

Counted are the tensors that live when the backward pass begins: what autograd saved, all stages' logits and the batch;
plus weights, gradients and AdamW's two moments. Everything in float32. Under CUDA's autocast the saved activations of
linear layers, convolutions and attention are 2 bytes instead of 4 while norms, logits and losses stay float32, so the
estimate is then high by up to a factor of two.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import prod

import torch

from msam_nn.networks import MSAMConfig
from msam_nn.networks.decoding import neighbourhood
from msam_nn.networks.decoding.prompt_encoder import MASK_CELLS_PER_TOKEN
from msam_nn.networks.decoding.pyramid_decoder import FINE_CHANNELS, PROMPT_CHANNELS
from msam_nn.networks.encoders.pyramid import convs_per_level, pyramid_strides, pyramid_widths
from msam_nn.networks.msam import build

CLICK_STAGES = 3
"""Refinement stages with clicks that a training step adds to the automatic ones."""

CLASSES_PER_STEP = 8
"""Classes that a training step refines at most."""

TRANSIENT = 1.12
"""Measured peak of a process over the tensors counted here: gradients of activations, temporaries of the losses."""

GB = 2**30
CELLS = MASK_CELLS_PER_TOKEN**3
PROMPT_TOKENS = 7
"""IoU token, four mask tokens, a click and a padding point."""


def training_memory_gb(config: MSAMConfig, batch_size: int) -> float:
    """Peak memory in GB of a training step of :class:`~msam_nn.trainers.msam.trainer.MSAMTrainer`.

    For networks that train from scratch: global attention, decomposed position, no LoRA.
    """
    return (weights_bytes(config) + batch_size * bytes_per_sample(config)) / GB


def weights_bytes(config: MSAMConfig) -> int:
    """Weight, gradient and two moments of every parameter."""
    return 16 * count_parameters(config)


def count_parameters(config: MSAMConfig) -> int:
    """All parameters. Only positional tables depend on the number of tokens; the rest is counted on one token."""
    one_token = replace(config, patch_size=config.token_size, num_classes=1, in_channels=1)
    per_channel = prod(config.token_size) * config.embed_dim
    head_dims = config.depth * config.embed_dim // config.num_heads
    if config.adapter:
        head_dims += 3 * config.decoder_dim // config.adapter_heads
    per_head = sum(w + 1 for w in pyramid_widths(config.pyramid, config.token_size)[:-1]) * config.initial_masks
    return (
        _count_on_meta_device(one_token)
        + (config.in_channels - 1) * (per_channel + 27 * sum(config.pyramid[:1]))
        + (config.num_classes - 1) * (config.decoder_dim + per_head)
        + (config.n_tokens - 1) * config.embed_dim
        + 2 * sum(extent - 1 for extent in config.grid_size) * head_dims
    )


@cache
def _count_on_meta_device(config: MSAMConfig) -> int:
    with torch.device("meta"):
        return build(config).parameter_counts()[1]


def bytes_per_sample(config: MSAMConfig) -> int:
    """Activations of one sample: encoder, decoder stages, full-resolution logits and losses, the batch itself."""
    classes = min(config.num_classes, CLASSES_PER_STEP)
    n_stages = CLICK_STAGES + (0 if config.initial_masks else config.n_auto_stages)
    stage = stage_values(config)
    if config.checkpoint_stages:  # every stage keeps its mask prompts; one at a time is computed again
        kept = CELLS * config.n_tokens + (prod(config.patch_size) if fine_cells(config) else 0)
        kept += prod(config.patch_size) * config.initial_masks
        stages = (n_stages * kept + stage) * classes
    else:
        stages = n_stages * stage * classes
    voxels = prod(config.patch_size)
    # Logits, their log-softmax, softmax and the one-hot target, with a background channel except for regions. Around a
    # click also weight, target and the masks before, and for regions no log-softmax.
    per_voxel = 4 * (classes + config.background)
    if config.initial_masks:
        per_voxel = 3 * (classes + 1) + 3 * classes if config.background else 5 * classes
    losses = n_stages * per_voxel * voxels
    batch = (config.in_channels + 3) * voxels
    return round(4 * TRANSIENT * (encoder_values(config) + initial_values(config) + stages + losses + batch))


def attention_values(config: MSAMConfig, width: int, heads: int) -> int:
    """Values a token saves in a transformer block: 12 widths around attention and position codes, 8 in the MLP."""
    return 20 * width + (4 * sum(config.grid_size) + 1) * heads + 4


def encoder_values(config: MSAMConfig) -> int:
    """Values one image saves in the encoder, its neck, and the adapter's image half."""
    block = attention_values(config, config.embed_dim, config.num_heads)
    neck = config.embed_dim + (9 if config.adapter else 3) * config.decoder_dim
    return config.n_tokens * (config.depth * block + neck) + pyramid_values(config)


def pyramid_values(config: MSAMConfig) -> int:
    """Values one image saves in the pyramid: what each convolution and each norm gives."""
    widths = pyramid_widths(config.pyramid, config.token_size)
    levels = zip(widths, _cells(config), convs_per_level(len(widths)), strict=True) if widths else ()
    return sum(2 * n_convs * width * cells for width, cells, n_convs in levels)


def initial_values(config: MSAMConfig) -> int:
    """Values one image saves in the decoder of initial masks and in its deep supervision."""
    if not config.initial_masks:
        return 0
    *widths, _ = pyramid_widths(config.pyramid, config.token_size)
    *cells, _ = _cells(config)
    losses = 4 * (config.num_classes + config.background) * sum(cells)
    return losses + sum(3 * width * n for width, n in zip(widths, cells, strict=True))


def fine_cells(config: MSAMConfig) -> list[int]:
    """Cells of the pyramid's levels that are finer than the mask grid, finest first."""
    return _cells(config)[:-3] if config.pyramid else []


def _cells(config: MSAMConfig) -> list[int]:
    voxels = prod(config.patch_size)
    return [voxels // prod(stride) for stride in pyramid_strides(config.token_size)]


def stage_values(config: MSAMConfig) -> int:
    """Values one class saves in one refinement stage: mask prompt, adapter, two-way transformer, upscaling."""
    width, depth = config.decoder_dim, config.decoder_depth
    prompt = 2 * CELLS + 98
    adapter = 38 * width + 3 * attention_values(config, width, config.adapter_heads) if config.adapter else width
    transformer = (5 * depth + 3) * width + depth * config.decoder_heads
    upscaling = 22 * width + 16
    per_prompt_token = depth * (20 * width + config.decoder_mlp_dim)
    mixing = 20 * width + PROMPT_CHANNELS * CELLS if config.pyramid else 0
    fine = fine_cells(config)
    finest = FINE_CHANNELS * sum(fine) + PROMPT_CHANNELS * sum(fine[:1])
    if config.initial_masks:
        finest += 3 * prod(config.patch_size) + neighbourhood_values(config)
    coarse = config.n_tokens * (prompt + adapter + transformer + upscaling + mixing)
    return coarse + finest + PROMPT_TOKENS * per_prompt_token


def neighbourhood_values(config: MSAMConfig) -> int:
    """Values a click saves in its neighbourhood: what is sampled and where, inputs, and the convolutions'."""
    widths = pyramid_widths(config.pyramid, config.token_size)[: neighbourhood.LEVELS]
    sampled = sum(widths) + 3 * len(widths)
    inputs = 3 * neighbourhood.FEATURES + neighbourhood.OTHER_INPUTS
    return neighbourhood.CELLS**3 * (sampled + inputs + 2 * neighbourhood.WIDTH * (neighbourhood.DEPTH + 1))
