"""Which slices, how many queries and what trunk: MaskSAM's network from image size, classes and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from msam_nn.errors import UserError
from msam_nn.networks.masksam import MaskSAMConfig
from msam_nn.preprocessing.architecture import CHECKPOINT_GAIN, coverage
from msam_nn.preprocessing.masksam.memory import training_memory_gb

MIN_BATCH_SIZE = 2

SAM_MEMORY_GB = 6.0
"""Below this a patch that SAM's smallest encoder can train on would be too small to be of use."""

VOXELS_PER_TOKEN = (4, 8, 16)

MAX_UPSAMPLED_EDGE = 256
"""Slices up to this size are upsampled for SAM, so that they fill its canvas of 1024 pixels (ACDC in the paper)."""

MAX_GRID = 64
"""Tokens per axis of SAM's canvas."""

MAX_DECODER_TOKENS, MAX_ENCODER_TOKENS = 221_184, 16_384
"""``N T h w`` and ``T h w``: the most that the three published configurations have (AMOS and ACDC)."""

LEAST_DEPTH, LEAST_DEPTH_SHARE = 4, 0.25
"""Slices a patch should have, and the share of an image's that finer tokens must leave."""


@dataclass(frozen=True)
class MaskSAMDesign:
    """A network for one configuration, and why it is as it is."""

    config: MaskSAMConfig
    notes: tuple[str, ...]


def count_queries(num_classes: int) -> int:
    """Half as many again as classes, in eights, at least 8: 8, 24 and 24 of the paper's three data sets."""
    return max(8, 8 * ceil(1.5 * num_classes / 8))


def choose_trunk(trunk: str, memory_gb: float) -> tuple[str, str]:
    """``trunk``, or ``"tiny"`` where it makes no sense in ``memory_gb``, and the reason."""
    if trunk == "tiny":
        return trunk, "trunk tiny: trains from scratch, as the planner says"
    if memory_gb < SAM_MEMORY_GB:
        return "tiny", (
            f"trunk tiny, trains from scratch: SAM's encoders need {SAM_MEMORY_GB:g} GB, "
            f"-gpu_memory_target is {memory_gb:g}"
        )
    return trunk, f"trunk {trunk}: SAM's, frozen, needs its weights (msam convert-weights)"


def design_for_image(
    median_shape: Sequence[float],
    *,
    trunk: str,
    in_channels: int,
    num_classes: int,
    background: bool,
    memory_gb: float,
) -> MaskSAMDesign:
    """Patch, tokens and network for a data set.

    Arguments:
        median_shape: voxels ``(T, H, W)`` after resampling; one slice in 2D.
        num_classes: labels with background, or regions.

    Raises:
        UserError: if not even the smallest patch fits ``memory_gb``.
    """
    trunk, trunk_note = choose_trunk(trunk, memory_gb)
    n_queries = count_queries(num_classes)
    depth, *plane = (max(1, ceil(s)) for s in median_shape)

    def config_for(patch: Sequence[int], edge: int, checkpoint: bool) -> MaskSAMConfig:
        tokens = dict(token_size=edge) if trunk == "tiny" else dict(upsampling=16 // edge)
        return MaskSAMConfig.of_trunk(
            trunk,
            in_channels=in_channels,
            num_classes=num_classes,
            patch_size=tuple(patch),
            n_queries=n_queries,
            background=background,
            checkpoint_blocks=checkpoint,
            **tokens,
        )

    def deepest(grid: Sequence[int], edge: int, checkpoint: bool) -> MaskSAMConfig | None:
        """The most slices of ``grid`` tokens that budgets and memory allow; None for not even one."""
        by_tokens = min(MAX_DECODER_TOKENS // (n_queries * prod(grid)), MAX_ENCODER_TOKENS // prod(grid))
        low, high = 0, min(depth, by_tokens)
        while low < high:  # memory grows with the number of slices
            middle = (low + high + 1) // 2
            config = config_for((middle, grid[0] * edge, grid[1] * edge), edge, checkpoint)
            fits = training_memory_gb(config, MIN_BATCH_SIZE) <= memory_gb
            low, high = (middle, high) if fits else (low, middle - 1)
        return config_for((low, grid[0] * edge, grid[1] * edge), edge, checkpoint) if low else None

    def largest(edge: int, checkpoint: bool, shrink: bool) -> MaskSAMConfig | None:
        """Whole slices, or with ``shrink`` parts of them, cut where they have most, until enough of them fit."""
        grid = [min(MAX_GRID, ceil(s / edge)) for s in plane]
        if prod(grid) == 1:  # norms cannot train on a single token, which a patch of one slice would have
            grid[-1] = 2
        least = min(depth, LEAST_DEPTH if shrink else max(LEAST_DEPTH, ceil(LEAST_DEPTH_SHARE * depth)))
        while True:
            config = deepest(grid, edge, checkpoint)
            if config is not None and config.patch_size[0] >= least:
                return config
            if not shrink or prod(grid) <= 2:
                return config if shrink else None
            grid[grid.index(max(grid))] -= 1

    for edge in VOXELS_PER_TOKEN:
        coarsest = edge == VOXELS_PER_TOKEN[-1]
        if not coarsest and max(plane) > MAX_UPSAMPLED_EDGE:
            continue
        plain = largest(edge, False, shrink=coarsest)
        # A trunk that trains from scratch runs where time is short, and takes tokens of any size.
        recomputing = plain if trunk == "tiny" else largest(edge, True, shrink=coarsest)
        if recomputing is not None:
            break
    else:
        raise UserError(
            f"-gpu_memory_target {memory_gb:g} is too little: not even the smallest patch of a MaskSAM network with "
            f"trunk {trunk} trains in it. Use at least {SAM_MEMORY_GB if trunk != 'tiny' else 0.5:g} GB."
        )
    gain = prod(recomputing.patch_size) / prod(plain.patch_size) if plain else float("inf")
    config = recomputing if gain >= CHECKPOINT_GAIN else plain
    return MaskSAMDesign(config, tuple(_notes(config, (depth, *plane), trunk_note, gain)))


def _notes(config: MaskSAMConfig, shape: Sequence[int], trunk_note: str, gain: float) -> list[str]:
    depth, (height, width) = config.patch_size[0], config.grid_size
    edge, tokens = config.voxels_per_token, depth * height * width
    how = f"slices upsampled x{config.upsampling}" if config.upsampling > 1 else "slices as they are"
    notes = [
        trunk_note,
        f"{config.n_queries} queries for {config.num_classes} classes: half as many again, in eights",
        f"patch {config.patch_size}: {coverage(config.patch_size, shape):.0%} of the median image {tuple(shape)}",
        f"tokens of {edge} x {edge} voxels, {height} x {width} a slice, {how}",
        f"{depth} slices: {tokens} encoder and {config.n_queries * tokens} decoder tokens, limits "
        f"{MAX_ENCODER_TOKENS} and {MAX_DECODER_TOKENS}, and memory",
    ]
    if config.checkpoint_blocks:
        notes.append(
            f"blocks are computed again in the backward pass: the patch becomes {gain:.1f} times as large"
            if gain < float("inf")
            else "blocks are computed again in the backward pass: tokens as fine do not fit otherwise"
        )
    return notes
