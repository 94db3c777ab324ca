"""Low-rank adaptation of the query and value projections (LoRA, arXiv 2106.09685; M-SAM, section 3.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def lora_update(a_q: Tensor, b_q: Tensor, a_v: Tensor, b_v: Tensor) -> Tensor:
    """What LoRA adds to a fused ``qkv`` weight, ``(3 * dim, dim)``, from A ``(rank, dim)`` and B ``(dim, rank)``."""
    q = b_q @ a_q
    return torch.cat([q, torch.zeros_like(q), b_v @ a_v])


class LoRAQKV(nn.Linear):
    """A fused ``qkv`` projection with a rank-``rank`` update on its query and value thirds, no scaling factor.

    ``q += B_q(A_q(x))`` and ``v += B_v(A_v(x))``; A is Kaiming-uniform, B zero, so the layer starts as the plain one.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__(dim, 3 * dim)
        self.lora_a_q = nn.Linear(dim, rank, bias=False)
        self.lora_b_q = nn.Linear(rank, dim, bias=False)
        self.lora_a_v = nn.Linear(dim, rank, bias=False)
        self.lora_b_v = nn.Linear(rank, dim, bias=False)
        for down in (self.lora_a_q, self.lora_a_v):
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        for up in (self.lora_b_q, self.lora_b_v):
            nn.init.zeros_(up.weight)

    def update(self) -> Tensor:
        """The update as one ``(3 * dim, dim)`` matrix."""
        layers = (self.lora_a_q, self.lora_b_q, self.lora_a_v, self.lora_b_v)
        return lora_update(*(layer.weight for layer in layers))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = super().forward(x).chunk(3, dim=-1)
        return torch.cat([q + self.lora_b_q(self.lora_a_q(x)), k, v + self.lora_b_v(self.lora_a_v(x))], dim=-1)

    def merged(self) -> nn.Linear:
        """An ordinary linear layer that computes the same."""
        linear = nn.Linear(self.in_features, self.out_features, device=self.weight.device, dtype=self.weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(self.weight + self.update())
            linear.bias.copy_(self.bias)
        return linear


def is_lora_parameter(name: str) -> bool:
    return ".lora_" in name
