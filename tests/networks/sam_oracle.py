"""Stock SAM, slow and obvious, written from its published description: what the fast forms are held against.

Everything is computed from the tensors of a network's state dict, a slice at a time: windows are really padded with
zeros after the norm, attention matrices are whole, and nothing knows of adapters. On grids smaller than its tables the
absolute table is cut at the top left and the relative ones around their middle.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from msam_nn.networks.layers.attention import GridAttention

State = Mapping[str, Tensor]


def part(state: State, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return x @ state[f"{name}.weight"].mT + state[f"{name}.bias"]


def norm(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def channel_norm(x: Tensor, state: State, name: str) -> Tensor:
    return norm(x.permute(0, 2, 3, 1), state, name, 1e-6).permute(0, 3, 1, 2)


def stock_attention(state: State, x: Tensor, num_heads: int, window: int | None) -> Tensor:
    """Attention of ``(M, h, w, C)`` in padded windows, or over the whole grid."""
    m, h, w, c = x.shape
    if window:
        rows, columns = -(-h // window), -(-w // window)
        x = F.pad(x, (0, 0, 0, columns * window - w, 0, rows * window - h))
        x = x.reshape(m, rows, window, columns, window, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, window, window, c)
    n, height, width = x.shape[:3]
    qkv = linear(x, state, "qkv").reshape(n, height * width, 3, num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    grid = q.reshape(n, num_heads, height, width, -1)
    by_row = torch.einsum("nahwc,hkc->nahwk", grid, distances(state["rel_pos_h"], height))
    by_column = torch.einsum("nahwc,wkc->nahwk", grid, distances(state["rel_pos_w"], width))
    bias = by_row[..., :, None] + by_column[..., None, :]
    logits = logits.reshape(n, num_heads, height, width, height, width) + bias
    out = logits.reshape(n, num_heads, height * width, -1).softmax(-1) @ v
    out = linear(out.transpose(1, 2).reshape(n, height, width, c), state, "proj")
    if window:
        out = out.reshape(m, rows, columns, window, window, c).permute(0, 1, 3, 2, 4, 5)
        out = out.reshape(m, rows * window, columns * window, c)[:, :h, :w]
    return out


def distances(table: Tensor, size: int) -> Tensor:
    """The row of a table that belongs to query i and key j, ``(size, size, c)``."""
    middle = len(table) // 2
    i = torch.arange(size, device=table.device)
    return table[middle + i[:, None] - i[None, :]]


def attention_of(module: GridAttention, x: Tensor) -> Tensor:
    """``module(x)`` in the stock form, for ``attending_by``."""
    window = module.window[0] if module.window else None
    return stock_attention(dict(module.named_parameters()), x, module.num_heads, window)


def stock_encoder(
    state: State, image: Tensor, *, num_heads: int, window: int, global_blocks: tuple[int, ...]
) -> tuple[list[Tensor], Tensor]:
    """Output of every block ``(M, h, w, E)``, and of the neck ``(M, D, h, w)``."""
    weight = state["patch_embed.proj.weight"]
    x = F.conv2d(image, weight, state["patch_embed.proj.bias"], stride=weight.shape[-1]).permute(0, 2, 3, 1)
    x = x + state["pos_embed"][:, : x.shape[1], : x.shape[2]]
    outputs = []
    for i in range(len({key.split(".")[1] for key in state if key.startswith("blocks.")})):
        block = part(state, f"blocks.{i}.")
        attended = norm(x, block, "norm1", 1e-6)
        x = x + stock_attention(part(block, "attn."), attended, num_heads, None if i in global_blocks else window)
        hidden = F.gelu(linear(norm(x, block, "norm2", 1e-6), block, "mlp.lin1"))
        x = x + linear(hidden, block, "mlp.lin2")
        outputs.append(x)
    y = channel_norm(F.conv2d(x.permute(0, 3, 1, 2), state["neck.0.weight"]), state, "neck.1")
    return outputs, channel_norm(F.conv2d(y, state["neck.2.weight"], padding=1), state, "neck.3")


def stock_cross_attention(state: State, q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """SAM's downscaling attention on one pass, ``(length, C)`` each."""
    q, k, v = (
        linear(x, state, f"{name}_proj").reshape(len(x), num_heads, -1).transpose(0, 1)
        for name, x in (("q", q), ("k", k), ("v", v))
    )
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return linear((weights @ v).transpose(0, 1).flatten(1), state, "out_proj")


def stock_decoder(state: State, image: Tensor, image_pos: Tensor, sparse: Tensor, num_heads: int) -> Tensor:
    """SAM's first mask of one pass: image ``(D, h, w)``, its positions ``(h * w, D)`` and prompts ``(n, D)`` to logits
    ``(4h, 4w)``."""
    tokens = torch.cat([state["iou_token.weight"], state["mask_tokens.weight"], sparse])
    start, keys = tokens, image.flatten(1).T
    for i in range(2):
        layer = part(state, f"transformer.layers.{i}.")

        def attend(name: str, q: Tensor, k: Tensor, v: Tensor, layer: State = layer) -> Tensor:
            return stock_cross_attention(part(layer, f"{name}."), q, k, v, num_heads)

        if i == 0:
            tokens = attend("self_attn", tokens, tokens, tokens)
        else:
            tokens = tokens + attend("self_attn", tokens + start, tokens + start, tokens)
        tokens = norm(tokens, layer, "norm1", 1e-5)
        tokens = tokens + attend("cross_attn_token_to_image", tokens + start, keys + image_pos, keys)
        tokens = norm(tokens, layer, "norm2", 1e-5)
        tokens = tokens + linear(linear(tokens, layer, "mlp.lin1").relu(), layer, "mlp.lin2")
        tokens = norm(tokens, layer, "norm3", 1e-5)
        keys = keys + attend("cross_attn_image_to_token", keys + image_pos, tokens + start, tokens)
        keys = norm(keys, layer, "norm4", 1e-5)
    final = part(state, "transformer.final_attn_token_to_image.")
    tokens = tokens + stock_cross_attention(final, tokens + start, keys + image_pos, keys, num_heads)
    token = norm(tokens, state, "transformer.norm_final_attn", 1e-5)[1]
    for i in range(3):
        token = linear(token, state, f"output_hypernetworks_mlps.0.layers.{i}")
        token = token.relu() if i < 2 else token
    up = keys.T.reshape(1, *image.shape)
    up = F.conv_transpose2d(up, state["output_upscaling.0.weight"], state["output_upscaling.0.bias"], stride=2)
    up = F.gelu(channel_norm(up, state, "output_upscaling.1"))
    up = F.conv_transpose2d(up, state["output_upscaling.3.weight"], state["output_upscaling.3.bias"], stride=2)
    return torch.einsum("c,chw->hw", token, F.gelu(up)[0])
