"""Medical SAM Adapter (arXiv 2304.12620): adapters in SAM's encoder, whose attention also looks along depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msam_nn.networks.baselines.sam_trunk import NECK, TOKEN, grey_slices, sam_trunk
from msam_nn.networks.decoding.sam import SAMMaskDecoder, SAMPromptEncoder
from msam_nn.networks.encoders.vit import Block
from msam_nn.networks.layers.attention import GridAttention
from msam_nn.networks.layers.depth_adapter import PARALLEL_SCALE, DepthModule, sam_names

ADAPTER_RATIO = 1 / 32
"""Width of the adapters as a share of the encoder's. The paper gives none; with this one SAM's largest encoder trains
about as many parameters as the paper says (13 M)."""


class Adapter(DepthModule):
    """Down, ReLU, up; zero at first, so that the network starts as SAM itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, max(1, int(dim * ADAPTER_RATIO)))
        self.up = nn.Linear(self.down.out_features, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.relu(self.down(x)))


class SpaceDepthBlock(Block):
    """A block of SAM with the paper's space-depth transpose (section "SD-Trans").

    The same attention looks within slices and, transposed, along the depth of every token, there without positions.
    An adapter follows each branch, and a third one stands beside the MLP.
    """

    def __init__(self, attention: GridAttention, mlp_ratio: int, n_slices: int) -> None:
        super().__init__(attention, mlp_ratio)
        self.n_slices = n_slices
        dim = attention.proj.in_features
        self.space_adapter, self.depth_adapter, self.mlp_adapter = Adapter(dim), Adapter(dim), Adapter(dim)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        space = self.attn(normed)
        x = x + space + self.space_adapter(space) + self.depth_adapter(self.along_depth(normed))
        normed = self.norm2(x)
        return x + self.mlp(normed) + PARALLEL_SCALE * self.mlp_adapter(normed)

    def along_depth(self, x: Tensor) -> Tensor:
        """Attention between the slices ``T`` of ``(B * T, h, w, E)``, for each token of a slice."""
        heads = self.attn.num_heads
        columns = x.unflatten(0, (-1, self.n_slices)).movedim(1, 3)  # (B, h, w, T, E)
        sizes, columns = columns.shape[:3], columns.flatten(0, 2)  # fused attention takes no further axes
        query, key, value = self.attn.qkv(columns).unflatten(-1, (3, heads, -1)).movedim(-3, 0).transpose(-2, -3)
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = self.attn.proj(attended.transpose(-2, -3).flatten(-2))
        return attended.unflatten(0, sizes).movedim(3, 1).flatten(0, 1)


class MedSA(nn.Module):
    """Without clicks: a learned token a class prompts SAM's mask decoder for a mask of that class in every slice.

    The paper's third part, adapters that clicks steer (HyP-Adpt), has nothing to be steered by here and is left out;
    the decoder trains instead. Channels are averaged after the encoder.

    Arguments:
        patch_size: voxels ``(T, H, W)``; slices lie along the first axis, H and W are multiples of 16.
        trunk: name of SAM's encoder; ``"tiny"`` trains from scratch, of the others the adapters do.
    """

    def __init__(self, *, in_channels: int, out_channels: int, patch_size: Sequence[int], trunk: str) -> None:
        super().__init__()
        self.deep_supervision = False
        self.trains_trunk = trunk == "tiny"
        self.image_encoder = sam_trunk(trunk, patch_size)
        self.image_encoder.blocks = nn.ModuleList(
            [SpaceDepthBlock(b.attn, b.mlp.lin1.out_features // b.mlp.lin1.in_features, patch_size[0])
             for b in self.image_encoder.blocks]
        )  # fmt: skip
        self.prompt_encoder = SAMPromptEncoder(NECK).requires_grad_(False)
        self.mask_decoder = SAMMaskDecoder(dim=NECK, depth=2, num_heads=8, mlp_dim=2048)
        self.class_tokens = nn.Parameter(torch.randn(out_channels, 1, NECK))
        self.canvas_grid = self.image_encoder.pos_embed.shape[1:3]
        if not self.trains_trunk:
            frozen = {name for name in sam_names(self) if name.startswith("image_encoder.")}
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and name not in frozen)
        for unused in (*self.mask_decoder.output_hypernetworks_mlps[1:], self.mask_decoder.iou_prediction_head):
            unused.requires_grad_(False)  # DDP wants a gradient for everything that trains

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, T, H, W)`` to logits ``(B, K, T, H, W)``."""
        batch, channels, slices, *size = image.shape
        features = self.image_encoder(grey_slices(image)).embedding
        features = features.unflatten(0, (batch, channels, slices)).mean(1).flatten(0, 1)
        features = features + self.prompt_encoder.no_mask_embed.weight[..., None, None]
        position = self.prompt_encoder.grid([edge // TOKEN for edge in size], self.canvas_grid).flatten(0, 1)
        n_classes = len(self.class_tokens)
        masks, _, _ = self.mask_decoder(
            features.repeat_interleave(n_classes, 0), position, self.class_tokens.repeat(batch * slices, 1, 1)
        )
        masks = F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)
        return masks.reshape(batch, slices, n_classes, *size).transpose(1, 2)
