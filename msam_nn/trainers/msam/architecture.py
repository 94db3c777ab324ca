"""From nnU-Net's plans to an M-SAM architecture, whichever planner wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.networks import BUILDER, MSAMConfig
from msam_nn.preprocessing.architecture import TOKEN_EDGES, design_architecture, fit_tokens
from msam_nn.trainers.planned_trainer import resolve_configuration


def adopt_plans(plans: dict, configuration: str, dataset_json: dict, changes: Mapping[str, Any] | None = None) -> None:
    """Make ``plans`` describe an M-SAM network for ``configuration``, in place.

    Plans of an M-SAM planner only get their ``background`` flag checked against the data set (plans can be moved
    between data sets), and a configuration that inherits its architecture but has another patch size gets that
    architecture on its own patch. In plans of any other planner the U-Net is replaced by an architecture derived from
    their patch size, spacing and number of cases. nnU-Net copies the plans to the results, so prediction sees the same
    network.

    Arguments:
        changes: fields of :class:`~msam_nn.networks.MSAMConfig` in which a trainer's network differs from its plans'.

    Raises:
        UnsupportedError: for 2D configurations.
        UserError: if the configuration is missing or the plans' architecture is not usable.
    """
    manager, resolved = resolve_configuration(plans, configuration)
    if len(resolved.patch_size) != 3:
        raise UnsupportedError(
            f"M-SAM networks are 3D and the configuration {configuration} is 2D: use 3d_fullres (or 3d_lowres)."
        )
    label_manager = manager.get_label_manager(dataset_json)
    architecture = dict(resolved.configuration["architecture"])
    if architecture["network_class_name"] != BUILDER:
        background = not label_manager.has_regions
        design = design_architecture(
            resolved.patch_size,
            resolved.spacing,
            n_cases=dataset_json["numTraining"],
            in_channels=determine_num_input_channels(manager, resolved, dataset_json),
            num_classes=label_manager.num_segmentation_heads - background,
            background=background,
            batch_size=resolved.batch_size,
        )
        architecture = design.to_plans(background=background)
    elif list(architecture["arch_kwargs"].get("patch_size", ())) != list(resolved.patch_size):
        if "architecture" in plans["configurations"][configuration]:
            raise UserError(
                f"The configuration {configuration} of {plans['plans_name']} has patch_size "
                f"{list(resolved.patch_size)} but its architecture is for "
                f"{architecture['arch_kwargs'].get('patch_size')}: set both to the same size."
            )
        architecture["arch_kwargs"] = _fit_to_patch(architecture["arch_kwargs"], resolved.patch_size, resolved.spacing)
    kwargs = {**architecture["arch_kwargs"], **(changes or {}), "background": not label_manager.has_regions}
    try:
        MSAMConfig.from_arch_kwargs(1, label_manager.num_segmentation_heads, kwargs)
    except (ValueError, TypeError) as error:
        raise UserError(f"{plans['plans_name']}, configuration {configuration}: {error}") from error
    plans["configurations"][configuration]["architecture"] = {**architecture, "arch_kwargs": kwargs}


def _fit_to_patch(inherited: dict, patch_size: list[int], spacing: list[float]) -> dict:
    """The inherited network on another patch: with its tokens if they divide the patch, otherwise with others, and with
    its pyramid if the tokens allow one."""
    tokens = inherited.get("token_size", MSAMConfig.token_size)
    if any(p % t for p, t in zip(patch_size, tokens, strict=True)):
        tokens = fit_tokens(patch_size, spacing)
    pyramid = inherited.get("pyramid", []) if all(edge in TOKEN_EDGES for edge in tokens) else []
    fitting = {"patch_size": list(patch_size), "token_size": list(tokens), "pyramid": pyramid}
    return {**inherited, **fitting, "initial_masks": bool(pyramid) and inherited.get("initial_masks", False)}


def network_config(
    configuration_manager: ConfigurationManager, num_input_channels: int, num_output_channels: int
) -> MSAMConfig:
    """The network configuration that adopted plans hold.

    Raises:
        UserError: for plans that describe another network, or that another version wrote.
    """
    if configuration_manager.network_arch_class_name != BUILDER:
        raise UserError(
            f"These plans describe {configuration_manager.network_arch_class_name}, not an M-SAM network: they were "
            f"not written by an M-SAM planner or trainer."
        )
    try:
        return MSAMConfig.from_arch_kwargs(
            num_input_channels, num_output_channels, configuration_manager.network_arch_init_kwargs
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"The plans do not describe a usable M-SAM network: {error}") from error
