"""SAM's own prompt encoder and mask decoder (arXiv 2304.02643) in 2D, the latter with or without depth adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from msam_nn.networks.decoding.mask_decoder import NUM_MASK_TOKENS, MaskDecoder
from msam_nn.networks.decoding.prompt_encoder import PositionalEncoding, make_mask_downscaling
from msam_nn.networks.layers.depth_adapter import (
    AdaptedCrossAttention,
    AdaptedMLP,
    DepthConvAdapter,
    DepthMLPAdapter,
)
from msam_nn.networks.layers.two_way import TwoWayTransformer

TOP_LEFT, BOTTOM_RIGHT = 2, 3
"""Which of SAM's four point embeddings stand for the corners of a box."""


class SAMPromptEncoder(nn.Module):
    """Boxes and masks as embeddings. Points, which nothing here gives, have their place for SAM's file."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.position = PositionalEncoding(dim, axes=2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = make_mask_downscaling(dim, axes=2)
        self.no_mask_embed = nn.Embedding(1, dim)

    def boxes(self, boxes: Tensor, size: tuple[int, int], canvas: tuple[int, int]) -> Tensor:
        """Embed boxes ``(N, 4)``, ``(x1, y1, x2, y2)`` in units of a slice, as ``(N, 2, D)``.

        ``size`` and ``canvas`` are height and width in pixels of the slice, and of the canvas in whose top left corner
        it lies.
        """
        x, y = ((boxes[:, axis::2] * size[1 - axis] + 0.5) / canvas[1 - axis] for axis in (0, 1))
        encoded = self.position(torch.stack([x, y], dim=-1))
        corners = torch.cat([self.point_embeddings[i].weight for i in (TOP_LEFT, BOTTOM_RIGHT)])
        return encoded.to(corners.dtype) + corners

    def masks(self, logits: Tensor) -> Tensor:
        """Embed mask logits ``(N, 1, 4h, 4w)`` as ``(N, D, h, w)``."""
        return self.mask_downscaling(logits)

    def grid(self, grid: Sequence[int], canvas_grid: Sequence[int]) -> Tensor:
        """Positional encoding of the tokens ``(h, w, D)`` in the top left corner of a canvas of so many tokens."""
        device = self.position.gaussian_matrix.device
        y, x = ((torch.arange(g, device=device) + 0.5) / c for g, c in zip(grid, canvas_grid, strict=True))
        return self.position(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1))


class SAMMaskDecoder(MaskDecoder):
    """Decodes ``N`` passes, one mask each; what SAM computes beside its first mask is left out.

    Arguments:
        n_slices: slices ``T``, consecutive in ``N = M x T``, between which adapters exchange; 0 for none, which is
            SAM's decoder and nothing else.
        grid_size: tokens ``(h, w)`` of a slice; for the adapters.
        adapter_ratio: width of the adapters' bottleneck as a share of ``dim``.
        checkpoint_layers: recompute each layer in the backward pass instead of keeping it.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        n_slices: int = 0,
        grid_size: Sequence[int] = (),
        adapter_ratio: float = 0.25,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__(dim=dim, depth=depth, num_heads=num_heads, mlp_dim=mlp_dim, axes=2)
        self.transformer.checkpoint_layers = checkpoint_layers
        if n_slices:
            _add_adapters(self.transformer, n_slices, grid_size, adapter_ratio)

    def forward(self, image: Tensor, image_pos: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Arguments:
            image: image and mask embedding added, ``(N, D, h, w)``.
            image_pos: its positional encoding, ``(h * w, D)`` or ``(N, h * w, D)``.
            sparse: prompt tokens ``(N, n, D)``.

        Returns:
            Mask logits ``(N, 4h, 4w)``, the mask's token ``(N, D)`` and the prompt tokens ``(N, n, D)``.
        """
        tokens, keys = self.attend(image, image_pos, sparse)
        mask_token = tokens[:, 1]
        weights = self.output_hypernetworks_mlps[0](mask_token)
        masks = torch.einsum("nc,nchw->nhw", weights, self.output_upscaling(keys))
        return masks, mask_token, tokens[:, 1 + NUM_MASK_TOKENS :]


def _add_adapters(transformer: TwoWayTransformer, n_slices: int, grid_size: Sequence[int], ratio: float) -> None:
    """Adapters after every attention and beside every MLP: DMLP on tokens, DConv on the image."""

    def adapted(attention: nn.Module, kind: type, **grid: Sequence[int]) -> AdaptedCrossAttention:
        dim, internal = attention.q_proj.in_features, attention.q_proj.out_features
        return AdaptedCrossAttention(dim, attention.num_heads, internal, kind(dim, n_slices, ratio, **grid))

    for layer in transformer.layers:
        layer.self_attn = adapted(layer.self_attn, DepthMLPAdapter)
        layer.cross_attn_token_to_image = adapted(layer.cross_attn_token_to_image, DepthMLPAdapter)
        dim, mlp_dim = layer.mlp.lin1.in_features, layer.mlp.lin1.out_features
        layer.mlp = AdaptedMLP(dim, mlp_dim, nn.ReLU, DepthMLPAdapter(dim, n_slices, ratio))
        layer.cross_attn_image_to_token = adapted(
            layer.cross_attn_image_to_token, DepthConvAdapter, grid_size=grid_size
        )
    transformer.final_attn_token_to_image = adapted(transformer.final_attn_token_to_image, DepthMLPAdapter)
