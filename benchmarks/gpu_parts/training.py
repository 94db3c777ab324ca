"""Equal-time training on the data given, and scores without and with clicks: one method a part."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from typing import Any

from gpu_parts.planning import set_folders
from gpu_parts.setup import Setup

METHODS = {
    "nnUNetTrainer": "nnUNetPlans",
    "MSAMTrainer": "MSAMPlans",
    "MSAMUNetTrainer": "nnUNetPlans",
    "SAMMed3DTrainer": "MSAMPlans",
}
TRAINED_SHARE = 0.6
"""Of the part's time; the rest is for starting and scoring."""


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """A row per way of scoring ``setup.variant``; columns ``0`` to ``10`` are Dice after so many clicks a class."""
    dataset, workers = set_folders(setup), 0 if setup.dry_run else max(2, setup.cores - 2)
    os.environ["nnUNet_n_proc_DA"] = str(workers)
    import numpy as np
    import torch
    from accuracy.trials import automatic_dice, click_curve, make_trainer, train, validation_cases

    from msam_nn.errors import UserError
    from msam_nn.networks import PromptableNetwork

    torch.manual_seed(0)
    np.random.seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = make_trainer(dataset, METHODS[setup.variant], setup.variant, device=setup.device)
        if trainer.label_manager.has_regions:
            raise UserError(f"{dataset} has regions, and the trials score classes that exclude each other only.")
        seconds = 3.0 if setup.dry_run else TRAINED_SHARE * setup.seconds
        steps = train(trainer, seconds, 0, time.perf_counter)
    cases = validation_cases(trainer, 1 if setup.dry_run else 10)
    method = {"method": setup.variant, "trained / s": round(seconds), "steps": steps}
    starts_empty = setup.variant.startswith("SAMMed3D")
    if not starts_empty:
        dice, _ = automatic_dice(trainer, cases, time.perf_counter)
        yield {**method, "scored": f"sliding window, {len(cases)} cases", "0": round(dice, 4)}
    if isinstance(trainer.network, PromptableNetwork):
        cases, start = cases[:4], 0 if starts_empty else None
        for corrected, what in ((False, "network alone"), (True, "with corrections")):
            curve = click_curve(trainer.network, cases, corrected, start)
            yield {**method, "scored": f"{what}, {len(cases)} windows", **{str(n): dice for n, dice in curve.items()}}
