"""The one configuration of an M-SAM network, and its way through nnU-Net's plans."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any

from msam_nn.networks.decoding.prompt_encoder import MASK_CELLS_PER_TOKEN
from msam_nn.networks.layers.basic import Triple


@dataclass(frozen=True)
class MSAMConfig:
    """Every number that decides the shape and the semantics of an :class:`~msam_nn.networks.msam.network.MSAM`.

    Sizes are in voxels or tokens in array order ``(z, y, x)``.

    Arguments:
        in_channels: image channels ``C``.
        num_classes: masks ``K``: foreground classes, or regions.
        patch_size: network input in voxels; a multiple of ``token_size`` on every axis.
        token_size: voxels per ViT token and axis (16 in SAM-Med3D).
        embed_dim, depth, num_heads, mlp_ratio: the image encoder; ``embed_dim`` is ``E`` in the specification.
        window_size: tokens per axis of windowed attention; 0 makes every block global.
        global_blocks: indices of the blocks that attend globally when ``window_size`` is set.
        decoder_dim: width ``T`` of prompts, decoder and adapter; a multiple of 3 (three positional parts).
        decoder_depth, decoder_heads, decoder_mlp_dim: the two-way transformer.
        adapter: fuse image and mask embedding with the mask-enhanced adapter (M-SAM); otherwise add them (SAM).
        adapter_heads: attention heads of the adapter.
        lora_rank: rank of the update on query and value of the frozen encoder; 0 trains the encoder itself.
        freeze_encoder: freeze the image encoder's own weights (implied by ``lora_rank > 0``).
        relative_position: ``"decomposed"`` (intended, any grid) or ``"sammed3d"`` (released weights, cubic grid).
        swap_dense_axes: feed the dense positional encoding axis 1 first, as the released weights expect.
        background: prepend a background logit of 0 to the output (softmax data sets); False for regions.
        click_sigma: standard deviation, in mask cells, of a click written into the mask prompt; 0 writes none.
        click_logit: peak height of a written click, in logits.
        pyramid: widths of convolutional features at 1, 2, 4, ... voxels a cell, up to the token size (the last width
            counts for all deeper levels), which let masks be as fine as the image; empty for the released network,
            whose masks have four cells a token and axis.
        initial_masks: a U-Net decoder over the pyramid gives the masks of all classes before any prompt, and stages
            correct masks; otherwise every stage, the automatic ones too, decodes its masks anew.
        mask_prior: where mask logits start; 0 in released weights, negative where training starts from scratch.
        n_auto_stages: refinement stages of a prediction without prompts.
        class_chunk: classes decoded at once when predicting; bounds memory with many classes.
        checkpoint_stages: recompute each refinement stage in the backward pass instead of keeping it.

    Raises:
        ValueError: for sizes that do not fit together, naming the numbers.
    """

    in_channels: int
    num_classes: int
    patch_size: Triple
    token_size: Triple = (16, 16, 16)
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: int = 4
    window_size: int = 0
    global_blocks: tuple[int, ...] = ()
    decoder_dim: int = 384
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    adapter: bool = True
    adapter_heads: int = 6
    lora_rank: int = 0
    freeze_encoder: bool = False
    relative_position: str = "decomposed"
    swap_dense_axes: bool = False
    background: bool = True
    click_sigma: float = 5.0
    click_logit: float = 10.0
    pyramid: tuple[int, ...] = ()
    initial_masks: bool = False
    mask_prior: float = 0.0
    n_auto_stages: int = 3
    class_chunk: int = 8
    checkpoint_stages: bool = False

    def __post_init__(self) -> None:
        for name in ("patch_size", "token_size"):
            object.__setattr__(self, name, tuple(int(i) for i in getattr(self, name)))
        for name in ("global_blocks", "pyramid"):
            object.__setattr__(self, name, tuple(int(i) for i in getattr(self, name)))
        if len(self.patch_size) != 3 or len(self.token_size) != 3:
            raise ValueError(
                f"M-SAM networks are 3D: patch_size {self.patch_size} and token_size {self.token_size} need three axes."
            )
        if any(p < 1 or t < 1 or p % t for p, t in zip(self.patch_size, self.token_size, strict=True)):
            raise ValueError(
                f"patch_size {self.patch_size} is not a multiple of the ViT patch token_size {self.token_size}: "
                f"change one of them in the plans' configuration (the nearest fitting patch_size is {self._fitting()})."
            )
        if self.in_channels < 1 or self.num_classes < 1:
            raise ValueError(
                f"An M-SAM network needs at least one input channel and one class, "
                f"got in_channels {self.in_channels} and num_classes {self.num_classes}."
            )
        for width, heads, what in (
            (self.embed_dim, self.num_heads, "embed_dim / num_heads"),
            (self.decoder_dim, self.adapter_heads, "decoder_dim / adapter_heads"),
            (self.decoder_dim // 2, self.decoder_heads, "half decoder_dim / decoder_heads"),
        ):
            if width % heads:
                raise ValueError(f"{what}: {width} is not a multiple of {heads}.")
        if self.decoder_dim % 24:
            raise ValueError(
                f"decoder_dim {self.decoder_dim} must be a multiple of 24 "
                f"(three positional parts, features of one eighth of it)."
            )
        if self.relative_position not in ("decomposed", "sammed3d"):
            raise ValueError(f'relative_position must be "decomposed" or "sammed3d", got {self.relative_position!r}.')
        if self.relative_position == "sammed3d" and len(set(self.grid_size)) > 1:
            raise ValueError(f'relative_position "sammed3d" needs a cubic token grid, got {self.grid_size}.')
        if self.pyramid and any(t < MASK_CELLS_PER_TOKEN or t & (t - 1) for t in self.token_size):
            raise ValueError(f"A pyramid needs tokens of 4, 8, 16, ... voxels on every axis, got {self.token_size}.")
        if self.initial_masks and not (self.pyramid and self.trains_encoder):
            raise ValueError("initial_masks needs a pyramid and an encoder that trains.")
        if self.n_auto_stages < 1:
            raise ValueError(f"n_auto_stages must be at least 1, got {self.n_auto_stages}.")

    def _fitting(self) -> tuple[int, ...]:
        return tuple(max(1, round(p / t)) * t for p, t in zip(self.patch_size, self.token_size, strict=True))

    @property
    def grid_size(self) -> Triple:
        """Tokens per axis."""
        return tuple(p // t for p, t in zip(self.patch_size, self.token_size, strict=True))

    @property
    def n_tokens(self) -> int:
        return prod(self.grid_size)

    @property
    def mask_size(self) -> Triple:
        """Cells per axis of the low-resolution masks."""
        return tuple(g * MASK_CELLS_PER_TOKEN for g in self.grid_size)

    @property
    def num_outputs(self) -> int:
        """Channels of ``network(image)``: nnU-Net's ``num_segmentation_heads``."""
        return self.num_classes + int(self.background)

    @property
    def trains_encoder(self) -> bool:
        return self.lora_rank == 0 and not self.freeze_encoder

    @classmethod
    def sam_med3d(
        cls, *, in_channels: int = 1, num_classes: int = 1, adapter: bool = True, lora_rank: int = 4, **changes: Any
    ) -> MSAMConfig:
        """Geometry and semantics of the released SAM-Med3D (``adapter=False, lora_rank=0``) and M-SAM weights."""
        released = dict(
            patch_size=(128, 128, 128),
            token_size=(16, 16, 16),
            window_size=14,
            global_blocks=(2, 5, 8, 11),
            relative_position="sammed3d",
            swap_dense_axes=True,
            click_sigma=0.0,
            n_auto_stages=3,
        )
        return cls(
            in_channels=in_channels,
            num_classes=num_classes,
            adapter=adapter,
            lora_rank=lora_rank,
            **{**released, **changes},
        )

    def to_arch_kwargs(self) -> dict[str, Any]:
        """The JSON-ready ``arch_kwargs`` of the plans: everything but channels and classes, which nnU-Net adds."""
        kwargs = asdict(self)
        del kwargs["in_channels"], kwargs["num_classes"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kwargs.items()}

    @classmethod
    def from_arch_kwargs(cls, input_channels: int, num_outputs: int, arch_kwargs: dict[str, Any]) -> MSAMConfig:
        """Inverse of :meth:`to_arch_kwargs`; ``num_outputs`` is nnU-Net's ``num_segmentation_heads``.

        Raises:
            ValueError: if the plans hold a field this version does not know (a plan made by another version).
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(arch_kwargs) - known)
        if unknown:
            raise ValueError(
                f"The plans' architecture has fields this version of msam_nn does not know: {', '.join(unknown)}. "
                f"They were written by another version; run nnUNetv2_plan_experiment again with the MSAM planner."
            )
        if "patch_size" not in arch_kwargs:
            raise ValueError("The plans' architecture holds no patch_size; plan again with the MSAM planner.")
        background = arch_kwargs.get("background", True)
        return cls(in_channels=input_channels, num_classes=num_outputs - int(background), **arch_kwargs)
