"""What MaskSAM adds inside SAM's layers so that neighbouring slices see each other (arXiv 2403.14103, section 3.3).

SAM sees every slice as an image of its own, slices in the batch axis with the slice last: ``(... x T, ...)``. Each
adapter regroups them to volumes of ``T`` slices. Its last linear layer starts at zero, so that the network starts as
SAM itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.layers.basic import MLP, convolve_channels_last
from msam_nn.networks.layers.two_way import CrossAttention


class DepthModule(nn.Module):
    """Not part of SAM. Everything that is added inside its modules derives from this class."""


class DepthAdapter(DepthModule):
    """A bottleneck whose middle lets slices exchange what they hold: ``up(u + mix(u))``, ``u = GELU(down(x))``.

    Arguments:
        ratio: width of the bottleneck as a share of ``dim``.
    """

    def __init__(self, dim: int, n_slices: int, ratio: float) -> None:
        super().__init__()
        self.n_slices = n_slices
        self.down = nn.Linear(dim, int(dim * ratio))
        self.up = nn.Linear(int(dim * ratio), dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def mix(self, u: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """What to add to ``x``."""
        u = F.gelu(self.down(x))
        return self.up(u + self.mix(u))


class DepthConvAdapter(DepthAdapter):
    """DConv: mixes a map of tokens ``(B x T, h, w, dim)`` by a depth-wise 3 x 3 x 3 convolution over its volume.

    ``grid_size`` is for maps that come flattened, ``(B x T, h * w, dim)``.
    """

    def __init__(self, dim: int, n_slices: int, ratio: float, grid_size: Sequence[int] | None = None) -> None:
        super().__init__(dim, n_slices, ratio)
        hidden = self.down.out_features
        self.grid_size = grid_size
        self.conv = nn.Conv3d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)

    def mix(self, u: Tensor) -> Tensor:
        grid = self.grid_size or u.shape[1:-1]
        volume = u.reshape(-1, self.n_slices, *grid, u.shape[-1])
        return F.gelu(self.norm(convolve_channels_last(self.conv, volume))).reshape(u.shape)


class DepthMLPAdapter(DepthAdapter):
    """DMLP: mixes prompt tokens ``(M x T, n, dim)`` by an MLP along the slices. ``T`` is part of its weights."""

    def __init__(self, dim: int, n_slices: int, ratio: float) -> None:
        super().__init__(dim, n_slices, ratio)
        self.mlp = MLP(n_slices, 4 * n_slices)

    def mix(self, u: Tensor) -> Tensor:
        along_depth = u.unflatten(0, (-1, self.n_slices)).movedim(1, -1)
        return self.mlp(along_depth).movedim(-1, 1).flatten(0, 1)


class DepthEmbedding(DepthModule):
    """One learned vector a slice, zero at first, added to ``(B x T, h, w, dim)``."""

    def __init__(self, n_slices: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_slices, dim))

    def forward(self, x: Tensor) -> Tensor:
        return (x.unflatten(0, (-1, len(self.weight))) + self.weight[:, None, None]).flatten(0, 1)


class AdaptedCrossAttention(CrossAttention):
    """Attention followed by an adapter with a residual."""

    def __init__(self, dim: int, num_heads: int, internal_dim: int, adapter: DepthAdapter) -> None:
        super().__init__(dim, num_heads, internal_dim)
        self.adapter = adapter

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = super().forward(q, k, v)
        return out + self.adapter(out)


PARALLEL_SCALE = 0.5
"""Weight of an adapter beside an MLP."""


class AdaptedMLP(MLP):
    """An MLP with an adapter beside it."""

    def __init__(self, dim: int, hidden_dim: int, activation: type[nn.Module], adapter: DepthAdapter) -> None:
        super().__init__(dim, hidden_dim, activation)
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + PARALLEL_SCALE * self.adapter(x)


SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
"""Modules whose weights a file of SAM's holds, under these names in any network that has them."""


def sam_names(model: nn.Module) -> list[str]:
    """Names of all tensors of the model's state dict that a file of SAM's weights holds."""
    depth_modules = [(name, module) for name, module in model.named_modules() if isinstance(module, DepthModule)]
    added = {f"{prefix}.{name}" for prefix, module in depth_modules for name in module.state_dict()}
    return [name for name in model.state_dict() if name.startswith(SAM_PARTS) and name not in added]
