"""The device that commands and trainings are asked to work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msam_nn.errors import UserError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a CUDA GPU where PyTorch sees one, else the CPU.

    Raises:
        UserError: for ``cuda`` where PyTorch sees no GPU.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    insist_on_device(device)
    return device


def insist_on_device(device: torch.device) -> None:
    """Raises:
    UserError: for CUDA, which is nnU-Net's default, where there is none, and for a Mac's GPU, on which there are no
        numbers of 64 bits, which simulated clicks are drawn with.
    """
    import torch

    if device.type == "mps":
        raise UserError("A Mac's GPU cannot be used here, since it has no numbers of 64 bits: add -device cpu.")

    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA GPU here: add -device cpu, or run msam doctor to find out why.")
