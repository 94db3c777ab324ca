"""How large a network, cut into which tokens: decided from patch, spacing, number of cases and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from msam_nn.errors import UserError
from msam_nn.networks.layers.basic import MASK_PRIOR, Triple
from msam_nn.networks.msam import MSAMConfig
from msam_nn.networks.msam.builder import BUILDER
from msam_nn.preprocessing.memory import training_memory_gb

TOKEN_EDGES = (4, 8, 16)
"""Voxels per token along the finest axis, finest first."""

REFERENCE_TOKENS, REFERENCE_MEMORY_GB = 1024, 8.0
"""A thousand tokens train in acceptable time on the devices that have nnU-Net's default 8 GB."""

MIN_BATCH_SIZE = 2

CHECKPOINT_GAIN = 1.25
"""Recomputing stages costs a third of a step's time; it must make the patch larger by this factor."""

AUTO_STAGES = 1
"""Refinement stages without a click. With a pyramid more of them give the same automatic Dice after the same number of
steps, and cost steps (benchmarks/NOTES.md)."""

PYRAMID_WIDTHS = ((20.0, 32), (0.0, 16))
"""Channels of single voxels in the pyramid, from how many GB on: nnU-Net's 32 where the device is fast, a half where
steps are dear; a quarter learns too little (``benchmarks/NOTES.md``). They double with each level, up to
:data:`PYRAMID_LEVELS`."""

PYRAMID_LEVELS = 4

CLICK_SIGMA = 2.0
"""Width in mask cells of a click written into the mask prompt beside a pyramid: with the released 5 a network with fine
masks follows clicks only half as far (``benchmarks/NOTES.md``)."""

MODEL_SIZES: dict[str, dict[str, int]] = {
    "tiny": dict(
        embed_dim=192, depth=4, num_heads=3, decoder_dim=96, decoder_heads=4, decoder_mlp_dim=512, adapter_heads=3
    ),
    "small": dict(
        embed_dim=384, depth=8, num_heads=6, decoder_dim=192, decoder_heads=8, decoder_mlp_dim=1024, adapter_heads=3
    ),
    "base": dict(
        embed_dim=768, depth=12, num_heads=12, decoder_dim=384, decoder_heads=8, decoder_mlp_dim=2048, adapter_heads=6
    ),
}


@dataclass(frozen=True)
class ArchitectureDesign:
    """A network for one configuration, and why it is as it is."""

    patch_size: Triple
    token_size: Triple
    model_size: str
    pyramid: tuple[int, ...]
    notes: tuple[str, ...]
    checkpoint_stages: bool = False

    def config(self, *, in_channels: int = 1, num_classes: int = 1, background: bool = True) -> MSAMConfig:
        """The network for so many channels and classes or regions; ``background`` is False for regions."""
        pyramid = self.pyramid if all(edge in TOKEN_EDGES for edge in self.token_size) else ()
        return MSAMConfig(
            in_channels=in_channels,
            num_classes=num_classes,
            patch_size=self.patch_size,
            token_size=self.token_size,
            n_auto_stages=AUTO_STAGES,
            checkpoint_stages=self.checkpoint_stages,
            background=background,
            mask_prior=MASK_PRIOR,
            pyramid=pyramid,
            initial_masks=bool(pyramid),
            click_sigma=CLICK_SIGMA if pyramid else MSAMConfig.click_sigma,
            **MODEL_SIZES[self.model_size],
        )

    def to_plans(self, *, background: bool) -> dict:
        """The ``architecture`` entry of nnU-Net's plans; ``background`` is False for region-based data sets."""
        return {
            "network_class_name": BUILDER,
            "arch_kwargs": self.config(background=background).to_arch_kwargs(),
            "_kw_requires_import": [],
        }


def token_budget(memory_gb: float) -> int:
    """Tokens a patch may have; the time of attention grows with their square."""
    return int(REFERENCE_TOKENS * (memory_gb / REFERENCE_MEMORY_GB) ** 0.5)


def choose_model_size(n_cases: int, memory_gb: float) -> tuple[str, str]:
    """A model size and the reason: transformers from scratch need cases, and memory stands for the device's speed."""
    if n_cases >= 1000 and memory_gb >= 20:
        return "base", f"base model: {n_cases} cases and {memory_gb:g} GB allow it"
    if n_cases >= 100 and memory_gb >= 6:
        return "small", f"small model: {n_cases} cases, {memory_gb:g} GB (base needs 1000 cases and 20 GB)"
    return "tiny", f"tiny model: {n_cases} cases, {memory_gb:g} GB (small needs 100 cases and 6 GB)"


def choose_pyramid(memory_gb: float) -> tuple[int, ...]:
    """Widths of the convolutional features beside the transformer.

    >>> choose_pyramid(8)
    (16, 32, 64, 128)
    """
    finest = next(width for least, width in PYRAMID_WIDTHS if memory_gb >= least)
    return tuple(finest << level for level in range(PYRAMID_LEVELS))


def token_edges(spacing: Sequence[float], finest: int) -> Triple:
    """Voxels per token and axis: ``finest`` on the finest axis, half as many for each time that an axis has twice its
    spacing. So nnU-Net pools, and the pyramid's levels halve all axes at once wherever cells are not twice as long as
    wide."""
    halvings = np.floor(np.log2(np.asarray(spacing, dtype=float) / min(spacing)) + 1e-6)
    return tuple(max(TOKEN_EDGES[0], finest >> int(n)) for n in halvings)


def design_for_image(
    median_shape: Sequence[float],
    spacing: Sequence[float],
    *,
    n_cases: int,
    in_channels: int,
    num_classes: int,
    background: bool,
    memory_gb: float,
) -> ArchitectureDesign:
    """Patch, tokens and network for a data set.

    Arguments:
        median_shape: voxels after resampling. spacing: mm, both in array order after transposing.

    Raises:
        UserError: if not even one token a patch fits ``memory_gb``.
    """
    size, size_note = choose_model_size(n_cases, memory_gb)
    pyramid, budget = choose_pyramid(memory_gb), token_budget(memory_gb)

    def largest(tokens: Triple, checkpoint: bool) -> ArchitectureDesign | None:
        """The median shape in whole tokens, cut where it has most until budget and memory are met."""
        grid = [max(1, int(np.ceil(s / t - 1e-6))) for s, t in zip(median_shape, tokens, strict=True)]
        while True:
            if prod(grid) <= budget:
                patch = tuple(g * t for g, t in zip(grid, tokens, strict=True))
                design = ArchitectureDesign(patch, tokens, size, pyramid, (), checkpoint)
                config = design.config(in_channels=in_channels, num_classes=num_classes, background=background)
                if training_memory_gb(config, MIN_BATCH_SIZE) <= memory_gb:
                    return design
            if max(grid) == 1:
                return None
            grid[int(np.argmax(grid))] -= 1

    for finest in TOKEN_EDGES:
        tokens = token_edges(spacing, finest)
        plain, recomputing = largest(tokens, False), largest(tokens, True)
        if recomputing is None:
            continue
        gain = prod(recomputing.patch_size) / prod(plain.patch_size) if plain else float("inf")
        best = recomputing if gain >= CHECKPOINT_GAIN else plain
        share = coverage(best.patch_size, median_shape)
        reason = {
            4: share > 0.95 and "the whole image fits",
            8: (share >= 0.5 and "half of the image fits")
            or (prod(best.patch_size) >= 0.9 * 96**3 and "about 96^3 voxels fit"),
            16: "finer ones would see too little of the image",
        }[finest]
        if reason:
            break
    else:
        raise UserError(
            f"-gpu_memory_target {memory_gb:g} is too little: not even the smallest patch of a {size} M-SAM network "
            f"trains in it. Use at least 0.5 GB."
        )
    notes = [
        f"tokens of {tokens} voxels: {reason} in {budget} tokens ({memory_gb:g} GB)",
        f"patch {best.patch_size}: {share:.0%} of the median image {tuple(round(s) for s in median_shape)}",
    ]
    if best.checkpoint_stages:
        notes.append(f"stages are computed again in the backward pass: the patch becomes {gain:.1f} times as large")
    notes.append(f"pyramid of {', '.join(map(str, pyramid))} channels: {memory_gb:g} GB (twice 16 from 20 GB on)")
    return replace(best, notes=(*notes, size_note))


def coverage(patch_size: Sequence[float], shape: Sequence[float]) -> float:
    """Share of an image of ``shape`` voxels that one patch covers."""
    return prod(min(1.0, p / s) for p, s in zip(patch_size, shape, strict=True))


def fit_tokens(patch_size: Sequence[int], spacing: Sequence[float], memory_gb: float = REFERENCE_MEMORY_GB) -> Triple:
    """Token size for a patch another planner chose: per axis the divisor of the patch nearest to the ideal edge."""
    budget = token_budget(memory_gb)
    for finest in TOKEN_EDGES:
        tokens = tuple(
            min(_divisors(size, finest), key=lambda d, edge=edge: (abs(np.log2(d / edge)), d))
            for size, edge in zip(patch_size, token_edges(spacing, finest), strict=True)
        )
        if prod(p // t for p, t in zip(patch_size, tokens, strict=True)) <= budget:
            break
    return tokens


def _divisors(size: int, most: int) -> list[int]:
    """Token edges that divide ``size``: those that allow a pyramid if there is one, otherwise any."""
    fitting = [d for d in range(1, most + 1) if size % d == 0]
    return [d for d in fitting if d in TOKEN_EDGES] or fitting


def design_architecture(
    patch_size: Sequence[int],
    spacing: Sequence[float],
    *,
    n_cases: int,
    in_channels: int = 1,
    num_classes: int = 1,
    background: bool = True,
    batch_size: int = MIN_BATCH_SIZE,
    memory_gb: float = REFERENCE_MEMORY_GB,
) -> ArchitectureDesign:
    """A network for a given patch and batch, as plans of nnU-Net's other planners need it; stages are computed again
    where their training would not fit ``memory_gb`` otherwise."""
    size, reason = choose_model_size(n_cases, memory_gb)
    tokens = fit_tokens(patch_size, spacing, memory_gb)
    patch = tuple(int(p) for p in patch_size)
    plain = ArchitectureDesign(patch, tokens, size, choose_pyramid(memory_gb), (reason,))
    config = plain.config(in_channels=in_channels, num_classes=num_classes, background=background)
    return replace(plain, checkpoint_stages=training_memory_gb(config, batch_size) > memory_gb)
