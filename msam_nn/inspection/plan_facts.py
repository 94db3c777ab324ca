"""What a plan decided, in the words of a report."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from math import prod

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.reports.wording import times
from msam_nn.trainers.msam.architecture import adopt_plans


@dataclass(frozen=True)
class PlanFacts:
    """One configuration of a plan; triples are in the array order of the raw images, lengths in mm.

    Arguments:
        settings: what the plan chose, ready to show.
        notes: why, as the planner wrote it; nothing for nnU-Net's own planners.
    """

    plans_name: str
    configuration: str
    spacing: tuple[float, ...]
    token_mm: tuple[float, ...]
    settings: dict[str, str]
    notes: tuple[str, ...]

    @property
    def token_mm3(self) -> float:
        """Volume of a token."""
        return prod(self.token_mm)


def read_plan_facts(plans: dict, configuration: str, dataset_json: dict) -> PlanFacts:
    """The facts of nnU-Net's plans with the M-SAM network that training would use on them.

    Raises:
        UserError: as :func:`msam_nn.trainers.msam.architecture.adopt_plans` does.
    """
    adopted = deepcopy(plans)
    adopt_plans(adopted, configuration, dataset_json)
    manager = PlansManager(adopted)
    resolved = manager.get_configuration(configuration)
    network = resolved.network_arch_init_kwargs

    def array_order(values) -> np.ndarray:
        return np.asarray(values)[manager.transpose_backward]

    spacing, tokens = array_order(resolved.spacing), array_order(network["token_size"])
    settings = {
        "planner": plans["experiment_planner_used"],
        "preprocessor": resolved.preprocessor_name,
        "spacing": f"{times(spacing)} mm",
        "median image": f"{times(array_order(resolved.configuration['median_image_size_in_voxels']))} voxels",
        "patch": f"{times(array_order(resolved.patch_size))} voxels, "
        f"{times(array_order(resolved.patch_size) * spacing)} mm",
        "token": f"{times(tokens)} voxels, {times(tokens * spacing)} mm",
        "normalisation": ", ".join(resolved.normalization_schemes),
        "network": f"{network['embed_dim']} wide, {network['depth']} blocks, {network['num_heads']} heads, "
        f"decoder {network['decoder_dim']} wide",
        "stages without clicks": str(network["n_auto_stages"]),
        "batch size": str(resolved.batch_size),
    }
    if share := resolved.configuration.get("oversample_foreground_percent"):
        settings["patches on foreground"] = f"{share:.0%}"
    return PlanFacts(
        plans["plans_name"],
        configuration,
        tuple(spacing),
        tuple(tokens * spacing),
        settings,
        tuple(resolved.configuration.get("planning_notes", ())),
    )
