"""What a plan decided, in the words of a report."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from math import prod

import numpy as np

from msam_nn.errors import UnsupportedError
from msam_nn.networks import masksam
from msam_nn.reports.wording import times
from msam_nn.trainers.masksam import architecture as masksam_architecture
from msam_nn.trainers.msam.architecture import adopt_plans
from msam_nn.trainers.planned_trainer import resolve_configuration


@dataclass(frozen=True)
class PlanFacts:
    """One configuration of a plan; triples are in the array order of the raw images, lengths in mm.

    Arguments:
        settings: what the plan chose, ready to show.
        notes: why, as the planner wrote it; nothing for nnU-Net's own planners.
        fine_masks: masks are as fine as the image, by a pyramid; otherwise tokens bound how fine they are.
    """

    plans_name: str
    configuration: str
    spacing: tuple[float, ...]
    token_mm: tuple[float, ...]
    settings: dict[str, str]
    notes: tuple[str, ...]
    fine_masks: bool = False

    @property
    def token_mm3(self) -> float:
        """Volume of a token."""
        return prod(self.token_mm)


def read_plan_facts(plans: dict, configuration: str, dataset_json: dict) -> PlanFacts:
    """The facts of nnU-Net's plans with the network that training would use on them: MaskSAM's on its own plans,
    otherwise M-SAM's.

    Raises:
        UnsupportedError: for 2D configurations.
        UserError: as the ``adopt_plans`` of :mod:`msam_nn.trainers.msam` and :mod:`msam_nn.trainers.masksam` do.
    """
    adopted = deepcopy(plans)
    _, planned = resolve_configuration(plans, configuration)
    if len(planned.patch_size) != 3:
        raise UnsupportedError(f"msam check looks at volumes and {configuration} is 2D: use 3d_fullres (or 3d_lowres).")
    is_masksam = planned.network_arch_class_name == masksam.BUILDER
    adopt = masksam_architecture.adopt_plans if is_masksam else adopt_plans
    adopt(adopted, configuration, dataset_json)
    manager, resolved = resolve_configuration(adopted, configuration)
    network = resolved.network_arch_init_kwargs
    token_size, details = _masksam(network) if is_masksam else _msam(network)

    def array_order(values) -> np.ndarray:
        return np.asarray(values)[manager.transpose_backward]

    spacing, tokens = array_order(resolved.spacing), array_order(token_size)
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
        **details,
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
        bool(network.get("pyramid")),
    )


def _msam(network: dict) -> tuple[list[int], dict[str, str]]:
    """Voxels per token in array order of the network, and what only M-SAM has."""
    return network["token_size"], {"stages without clicks": str(network["n_auto_stages"])}


def _masksam(network: dict) -> tuple[list[int], dict[str, str]]:
    """The same of MaskSAM."""
    edge = network["token_size"] // network["upsampling"]
    trunk = "SAM's, frozen" if network["freeze_trunk"] else "trains from scratch"
    return [1, edge, edge], {"queries a slice": str(network["n_queries"]), "trunk": trunk}
