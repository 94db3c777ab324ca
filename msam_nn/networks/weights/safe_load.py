"""Reading PyTorch files of others without running what is inside."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

HARMLESS = [
    argparse.Namespace,
    *(
        (value.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
        for value, name in ((np.float64(0), "scalar"), (np.zeros(0), "_reconstruct"))
        for core in ("_core", "core")
    ),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32")),
]
"""What checkpoints hold besides tensors and plain values: losses as numpy numbers (nnU-Net, SAM-Med3D), and the
arguments of the training command (SAM-Med3D)."""


class CheckpointError(ValueError):
    """A file that does not hold what the network needs."""


def load_plain(path: str | Path) -> Any:
    """The content of a PyTorch file of tensors, plain values and :data:`HARMLESS` ones, on the CPU.

    Raises:
        CheckpointError: if it holds anything else, which is not run, or is no PyTorch file.
    """
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        # PyTorch's own message advises to load the file with code execution allowed, and is not passed on.
        unknown = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it refers to {unknown[1]}" if unknown else "it is damaged, or of another kind"
        raise CheckpointError(
            f"{path} is not a PyTorch file of tensors and plain values alone ({reason}), so it is not opened: get the "
            f"weights from a source you trust, or have them saved as a plain state dict."
        ) from error
