"""How large a network, cut into which tokens: decided from patch, spacing, number of cases and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from msam_nn.networks.config import MSAMConfig, Triple
from msam_nn.networks.msam import BUILDER

TOKEN_EDGES = (4, 8, 16)
"""Voxels per token along the finest axis, finest first."""

REFERENCE_TOKENS, REFERENCE_MEMORY_GB = 1024, 8.0
"""Attention keeps a score per pair of tokens; a thousand of them train comfortably in nnU-Net's default 8 GB."""

MODEL_SIZES: dict[str, dict[str, int]] = {
    "tiny": dict(
        embed_dim=192, depth=6, num_heads=3, decoder_dim=96, decoder_heads=4, decoder_mlp_dim=512, adapter_heads=3
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
    notes: tuple[str, ...]

    def to_plans(self, *, background: bool) -> dict:
        """The ``architecture`` entry of nnU-Net's plans; ``background`` is False for region-based data sets."""
        config = MSAMConfig(
            in_channels=1,
            num_classes=1,
            patch_size=self.patch_size,
            token_size=self.token_size,
            background=background,
            **MODEL_SIZES[self.model_size],
        )
        return {
            "network_class_name": BUILDER,
            "arch_kwargs": config.to_arch_kwargs(),
            "_kw_requires_import": [],
        }


def token_budget(memory_gb: float) -> int:
    """Tokens a patch may have; attention memory grows with their square."""
    return int(REFERENCE_TOKENS * (memory_gb / REFERENCE_MEMORY_GB) ** 0.5)


def choose_model_size(n_cases: int, memory_gb: float) -> tuple[str, str]:
    """A model size and the reason: transformers from scratch need cases, and memory limits them too."""
    if n_cases >= 1000 and memory_gb >= 20:
        return "base", f"base model: {n_cases} cases and {memory_gb:g} GB allow it"
    if n_cases >= 100 and memory_gb >= 6:
        return "small", f"small model: {n_cases} cases, {memory_gb:g} GB"
    return "tiny", f"tiny model: {n_cases} cases, {memory_gb:g} GB (small needs 100 cases and 6 GB)"


def token_edges(spacing: Sequence[float], finest: int) -> Triple:
    """Voxels per token and axis so that tokens are about isotropic in mm; ``finest`` applies to the finest spacing."""
    spacing = np.asarray(spacing, dtype=float)
    ideal = finest * spacing.min() / spacing
    allowed = np.array([edge for edge in TOKEN_EDGES if edge <= finest])
    return tuple(int(allowed[np.abs(np.log2(allowed / edge)).argmin()]) for edge in ideal)


def choose_patch(
    median_shape: Sequence[float], spacing: Sequence[float], memory_gb: float
) -> tuple[Triple, Triple, tuple[str, ...]]:
    """Patch and token size for a data set.

    The finest tokens whose budget still lets the patch see enough: the whole median image for 4-voxel tokens, a quarter
    of it (or 96^3 voxels) for 8-voxel tokens; 16-voxel tokens otherwise.

    Arguments:
        median_shape: voxels after resampling. spacing: mm, both in array order after transposing.

    Returns:
        Patch size, token size, one note per decision.
    """
    budget = token_budget(memory_gb)
    for finest in TOKEN_EDGES:
        tokens = token_edges(spacing, finest)
        patch = _largest_patch(median_shape, tokens, budget)
        coverage = prod(patch) / prod(max(p, s) for p, s in zip(patch, median_shape, strict=True))
        enough = {4: coverage > 0.95, 8: coverage >= 0.25 or prod(patch) >= 0.9 * 96**3, 16: True}[finest]
        if enough:
            break
    notes = (
        f"tokens of {tokens} voxels: the finest with which {budget} tokens ({memory_gb:g} GB) see enough of the image",
        f"patch {patch}: {coverage:.0%} of the median image {tuple(round(s) for s in median_shape)}",
    )
    return patch, tokens, notes


def _largest_patch(median_shape: Sequence[float], tokens: Triple, budget: int) -> Triple:
    """The median shape rounded up to whole tokens, then cut where it is largest in tokens until it fits the budget."""
    grid = [max(1, int(np.ceil(s / t - 1e-6))) for s, t in zip(median_shape, tokens, strict=True)]
    while prod(grid) > budget:
        grid[int(np.argmax(grid))] -= 1
    return tuple(g * t for g, t in zip(grid, tokens, strict=True))


def fit_tokens(patch_size: Sequence[int], spacing: Sequence[float], memory_gb: float = REFERENCE_MEMORY_GB) -> Triple:
    """Token size for a patch another planner chose: per axis the divisor of the patch nearest to the ideal edge."""
    budget = token_budget(memory_gb)
    for finest in TOKEN_EDGES:
        tokens = tuple(
            min(
                (d for d in range(1, finest + 1) if size % d == 0), key=lambda d, edge=edge: (abs(np.log2(d / edge)), d)
            )
            for size, edge in zip(patch_size, token_edges(spacing, finest), strict=True)
        )
        if prod(p // t for p, t in zip(patch_size, tokens, strict=True)) <= budget:
            break
    return tokens


def design_architecture(
    patch_size: Sequence[int], spacing: Sequence[float], *, n_cases: int, memory_gb: float = REFERENCE_MEMORY_GB
) -> ArchitectureDesign:
    """A network for a given patch, as plans of nnU-Net's other planners need it."""
    size, reason = choose_model_size(n_cases, memory_gb)
    tokens = fit_tokens(patch_size, spacing, memory_gb)
    return ArchitectureDesign(tuple(int(p) for p in patch_size), tokens, size, (reason,))
