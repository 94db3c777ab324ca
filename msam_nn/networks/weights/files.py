"""Reading and writing weight files: without running what is inside, and never half a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.folders import new_file
from msam_nn.networks.weights.safe_load import CheckpointError, load_plain
from msam_nn.networks.weights.sam_med3d import find_state_dict

PROVENANCE = "msam_nn"
"""Key of a weight file under which msam_nn says where the weights come from."""

BUFFERS = ("gaussian_matrix", "running_mean", "running_var")
"""Ends of the names of what is no parameter: the positional encoding's fixed matrix, and statistics of batches."""


def read_weight_file(path: Path) -> dict:
    """Read a PyTorch file of tensors and harmless values; anything else is refused, not run.

    Raises:
        UserError: if there is no such file, or it holds other things.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        content = load_plain(path)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}; expected a dictionary with weights.")
    return dict(content)


def write_weight_file(content: dict, path: Path, *, force: bool = False) -> None:
    """Write beside ``path`` and rename.

    Raises:
        UserError: if ``path`` exists and ``force`` is off, or it cannot be written.
    """
    if path.exists() and not force:
        raise UserError(f"{path} exists: choose another name, or add --force to replace it.")
    try:
        with new_file(path) as partial:
            torch.save(content, partial)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} could not be written: {str(error).splitlines()[0]}") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def released_state_dict(content: Mapping) -> dict[str, Tensor]:
    """The tensors among a file's weights."""
    return {str(name): value for name, value in find_state_dict(content).items() if isinstance(value, Tensor)}


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """Numbers in a network's state dict, each tensor once however many names it has, without :data:`BUFFERS` and
    buffers of whole or truth values."""
    parameters = [t for name, t in weights.items() if t.is_floating_point() and not name.endswith(BUFFERS)]
    return sum({t.data_ptr(): t.numel() for t in sorted(parameters, key=Tensor.numel)}.values())
