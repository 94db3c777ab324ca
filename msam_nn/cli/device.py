"""The option ``-device`` that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msam_nn.errors import UserError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: for ``cuda`` where PyTorch sees no GPU.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA GPU here: add -device cpu.")
    return torch.device(name)
