"""Seeds for trainings of any trainer of ours, and of nnU-Net's with a budget in their names."""

from __future__ import annotations

import os
import random

from msam_nn.errors import UserError

SEED_VARIABLE = "MSAM_NN_SEED"
"""Environment variable with the seed of trainings; unset, they are not seeded, as nnU-Net's never are."""


def seed_training(rank: int = 0) -> int | None:
    """Seed Python, NumPy and PyTorch from :data:`SEED_VARIABLE`, each DDP rank differently.

    A training is then repeated to the bit only with one thread on a CPU and without worker processes
    (``nnUNet_n_proc_DA=0``), whose own generators nnU-Net leaves unseeded.

    Returns:
        The seed, None without one.

    Raises:
        UserError: if the variable is no whole number from 0 on.
    """
    value = os.environ.get(SEED_VARIABLE, "")
    if not value:
        return None
    if not value.isdecimal():
        raise UserError(f"{SEED_VARIABLE} has to be a whole number from 0 on, not {value}.")
    import numpy as np
    import torch

    seed = int(value)
    drawn = np.random.SeedSequence([seed, rank]).generate_state(1)[0].item()
    for function in (random.seed, np.random.seed, torch.manual_seed):
        function(drawn)
    return seed
