"""The one configuration of a MaskSAM network, and its way through nnU-Net's plans."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from msam_nn.networks.decoding.prompt_encoder import MASK_CELLS_PER_TOKEN
from msam_nn.networks.layers.basic import Triple

TRUNKS: dict[str, dict[str, Any]] = {
    "tiny": dict(
        embed_dim=192, depth=4, num_heads=3, window_size=0, global_blocks=(), freeze_trunk=False,
        decoder_dim=96, decoder_heads=4, decoder_mlp_dim=384, generator_widths=(96, 64, 48, 32, 16),
    ),
    "vit_b": dict(embed_dim=768, depth=12, num_heads=12, global_blocks=(2, 5, 8, 11)),
    "vit_l": dict(embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": dict(embed_dim=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31)),
}  # fmt: skip
"""Geometry of SAM's three image encoders, and of one that trains from scratch."""

N_FEATURES = 4
"""Blocks of the trunk whose output the prompt generator reads, beside the neck's."""


@dataclass(frozen=True)
class MaskSAMConfig:
    """Every number that decides the shape and the semantics of a
    :class:`~msam_nn.networks.masksam.network.MaskSAM`.

    Sizes are in voxels or tokens in array order; the first axis is the one along which slices are taken. Symbols are
    those of the paper (arXiv 2403.14103).

    Arguments:
        in_channels: image channels.
        num_classes: ``C``, nnU-Net's number of segmentation heads: labels with the background, or regions.
        patch_size: ``(T, H, W)``: slices, and voxels within a slice. ``T`` is part of the weights.
        n_queries: ``N``, masks proposed for every slice; at least ``C``.
        upsampling: ``U`` (1, 2, 4): how much larger than the patch the slices are that the trunk sees.
        token_size: pixels of such a slice per token and axis (16 in SAM).
        canvas: pixels of SAM's input, whose top left corner a slice is taken for: size of the position tables, and what
            coordinates are divided by.
        embed_dim, depth, num_heads, mlp_ratio: the image encoder; ``embed_dim`` is ``E`` in the paper.
        window_size: tokens per axis of windowed attention; 0 makes every block global.
        global_blocks: indices of the blocks that attend globally when ``window_size`` is set.
        decoder_dim: width of prompts and mask decoder; a multiple of 8.
        decoder_depth, decoder_heads, decoder_mlp_dim: the two-way transformer.
        generator_widths: channels of the prompt generator's five fused maps, coarsest first.
        adapter_ratio: width of the adapters' bottleneck as a share of what they adapt.
        background: class 0 is the background of a softmax data set; False for regions.
        freeze_trunk: freeze all that SAM's file holds (encoders and mask decoder); False trains it too, from scratch.
        prompt_gradient: let final masks train the auxiliary masks through the mask prompt (the release does not).
        checkpoint_blocks: recompute each block of trunk and decoder in the backward pass instead of keeping it.

    Raises:
        ValueError: for sizes that do not fit together, naming the numbers.
    """

    in_channels: int
    num_classes: int
    patch_size: Triple
    n_queries: int
    upsampling: int = 1
    token_size: int = 16
    canvas: int = 1024
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: int = 4
    window_size: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    decoder_dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    generator_widths: tuple[int, ...] = (256, 128, 128, 64, 64)
    adapter_ratio: float = 0.25
    background: bool = True
    freeze_trunk: bool = True
    prompt_gradient: bool = False
    checkpoint_blocks: bool = False

    def __post_init__(self) -> None:
        for name in ("patch_size", "global_blocks", "generator_widths"):
            object.__setattr__(self, name, tuple(int(i) for i in getattr(self, name)))
        if len(self.patch_size) != 3 or min(self.patch_size) < 1:
            raise ValueError(
                f"A MaskSAM patch_size is (slices, height, width), got {self.patch_size}; "
                f"patches of a 2D configuration have one slice."
            )
        if self.in_channels < 1 or self.num_classes < 1:
            raise ValueError(
                f"A MaskSAM network needs at least one input channel and one class, "
                f"got in_channels {self.in_channels} and num_classes {self.num_classes}."
            )
        if self.upsampling not in (1, 2, 4):
            raise ValueError(f"upsampling must be 1, 2 or 4, got {self.upsampling}.")
        edge = self.voxels_per_token
        if edge * self.upsampling != self.token_size or edge < MASK_CELLS_PER_TOKEN or edge & (edge - 1) or edge > 16:
            raise ValueError(
                f"A token must cover 4, 8 or 16 voxels of a slice: token_size {self.token_size} with "
                f"upsampling {self.upsampling} does not."
            )
        if any(p % edge for p in self.patch_size[1:]):
            raise ValueError(
                f"patch_size {self.patch_size} does not divide into tokens of {edge} x {edge} voxels "
                f"(the nearest that does is {self._fitting()}): change it in the plans' configuration."
            )
        if self.patch_size[0] * self.grid_size[0] * self.grid_size[1] == 1:
            raise ValueError(f"patch_size {self.patch_size} is a single token: take more slices or larger ones.")
        if self.n_queries < self.num_classes:
            raise ValueError(
                f"n_queries {self.n_queries} must be at least num_classes {self.num_classes}: "
                f"every class of a slice takes a query of its own."
            )
        for width, heads, what in (
            (self.embed_dim, self.num_heads, "embed_dim / num_heads"),
            (self.decoder_dim // 2, self.decoder_heads, "half decoder_dim / decoder_heads"),
            (self.decoder_dim, 8, "decoder_dim"),
            (self.canvas, self.token_size, "canvas / token_size"),
        ):
            if width % heads:
                raise ValueError(f"{what}: {width} is not a multiple of {heads}.")
        if self.depth < N_FEATURES or any(not 0 <= i < self.depth for i in self.global_blocks):
            raise ValueError(
                f"A trunk needs at least {N_FEATURES} blocks and its global_blocks among them, "
                f"got depth {self.depth} and global_blocks {self.global_blocks}."
            )
        if len(self.generator_widths) != N_FEATURES + 1:
            raise ValueError(f"generator_widths needs {N_FEATURES + 1} numbers, got {self.generator_widths}.")
        if not 0 < self.adapter_ratio <= 1:
            raise ValueError(f"adapter_ratio must be above 0 and at most 1, got {self.adapter_ratio}.")

    def _fitting(self) -> Triple:
        edge = self.voxels_per_token
        return (self.patch_size[0], *(max(1, round(p / edge)) * edge for p in self.patch_size[1:]))

    @property
    def voxels_per_token(self) -> int:
        """Voxels of a slice that a token covers, per axis."""
        return self.token_size // self.upsampling

    @property
    def grid_size(self) -> tuple[int, int]:
        """Tokens of a slice, ``(h, w)``."""
        return tuple(p // self.voxels_per_token for p in self.patch_size[1:])

    @property
    def mask_size(self) -> tuple[int, int]:
        """Cells of a slice's low-resolution masks, ``(4h, 4w)``."""
        return tuple(g * MASK_CELLS_PER_TOKEN for g in self.grid_size)

    @property
    def canvas_grid(self) -> int:
        """Tokens per axis of the whole canvas: the size of the position tables."""
        return self.canvas // self.token_size

    @property
    def feature_blocks(self) -> tuple[int, ...]:
        """The four blocks whose output the prompt generator reads: the global ones, or four evenly spaced ones."""
        if len(self.global_blocks) == N_FEATURES:
            return self.global_blocks
        return tuple((i + 1) * self.depth // N_FEATURES - 1 for i in range(N_FEATURES))

    @classmethod
    def of_trunk(
        cls,
        trunk: str,
        *,
        in_channels: int,
        num_classes: int,
        patch_size: Triple,
        n_queries: int,
        upsampling: int = 1,
        **changes: Any,
    ) -> MaskSAMConfig:
        """The geometry of one of :data:`TRUNKS`. The canvas of ``"tiny"``, which no weights bind, is the patch.

        Raises:
            ValueError: for a trunk of another name.
        """
        if trunk not in TRUNKS:
            raise ValueError(f"There is no trunk {trunk!r}; choose one of {', '.join(TRUNKS)}.")
        geometry = dict(TRUNKS[trunk])
        if trunk == "tiny":
            geometry["canvas"] = upsampling * max(patch_size[1:])
        return cls(
            in_channels=in_channels,
            num_classes=num_classes,
            patch_size=patch_size,
            n_queries=n_queries,
            upsampling=upsampling,
            **{**geometry, **changes},
        )

    def to_arch_kwargs(self) -> dict[str, Any]:
        """The JSON-ready ``arch_kwargs`` of the plans: everything but channels and classes, which nnU-Net adds."""
        kwargs = asdict(self)
        del kwargs["in_channels"], kwargs["num_classes"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kwargs.items()}

    @classmethod
    def from_arch_kwargs(cls, input_channels: int, num_classes: int, arch_kwargs: dict[str, Any]) -> MaskSAMConfig:
        """Inverse of :meth:`to_arch_kwargs`; ``num_classes`` is nnU-Net's ``num_segmentation_heads``.

        Raises:
            ValueError: if the plans hold a field this version does not know, or lack one.
        """
        unknown = sorted(set(arch_kwargs) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(
                f"The plans' architecture has fields this version of MaskSAM does not know: {', '.join(unknown)}. "
                f"They were written by another version or planner; plan again with the MaskSAM planner."
            )
        missing = [name for name in ("patch_size", "n_queries") if name not in arch_kwargs]
        if missing:
            raise ValueError(
                f"The plans' architecture holds no {', '.join(missing)}; plan again with the MaskSAM planner."
            )
        return cls(in_channels=input_channels, num_classes=num_classes, **arch_kwargs)
