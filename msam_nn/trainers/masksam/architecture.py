"""From nnU-Net's plans to a MaskSAM network."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from msam_nn.errors import UserError
from msam_nn.networks.masksam import BUILDER, MaskSAMConfig
from msam_nn.trainers.planned_trainer import resolve_configuration


def adopt_plans(plans: dict, configuration: str, dataset_json: dict) -> None:
    """Make the plans of a MaskSAM planner fit the data set and the configuration, in place.

    The ``background`` flag follows the data set, since plans can be moved; a configuration that inherits its
    architecture and has another patch gets the network on that patch.

    Raises:
        UserError: for plans of another planner, or that describe no usable network: more classes than queries, a patch
            that tokens do not divide, a missing configuration.
    """
    manager, resolved = resolve_configuration(plans, configuration)
    architecture = dict(resolved.configuration["architecture"])
    _insist_on_masksam(architecture["network_class_name"], plans["plans_name"])
    labels = manager.get_label_manager(dataset_json)
    patch = [1] * (3 - len(resolved.patch_size)) + list(resolved.patch_size)
    kwargs: dict[str, Any] = {
        **architecture["arch_kwargs"],
        "patch_size": patch,
        "background": not labels.has_regions,
    }
    scratch = not kwargs.get("freeze_trunk", True) and kwargs.get("canvas") != MaskSAMConfig.canvas
    if scratch:  # no weights of SAM's, and so no canvas of theirs
        kwargs["canvas"] = kwargs.get("upsampling", 1) * max(patch[1:])
    try:
        MaskSAMConfig.from_arch_kwargs(1, labels.num_segmentation_heads, kwargs)
    except (ValueError, TypeError) as error:
        raise UserError(f"{plans['plans_name']}, configuration {configuration}: {error}") from error
    plans["configurations"][configuration]["architecture"] = {**architecture, "arch_kwargs": kwargs}


def network_config(
    configuration_manager: ConfigurationManager, num_input_channels: int, num_output_channels: int
) -> MaskSAMConfig:
    """The network configuration that adopted plans hold.

    Raises:
        UserError: for plans that describe another network, or that another version wrote.
    """
    _insist_on_masksam(configuration_manager.network_arch_class_name, "These plans")
    try:
        return MaskSAMConfig.from_arch_kwargs(
            num_input_channels, num_output_channels, configuration_manager.network_arch_init_kwargs
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"The plans do not describe a usable MaskSAM network: {error}") from error


def _insist_on_masksam(class_name: str, plans: str) -> None:
    if class_name != BUILDER:
        raise UserError(
            f"{plans} describe {class_name}, not a MaskSAM network: plan with nnUNetv2_plan_and_preprocess "
            f"-pl MaskSAMPlanner and train with -p MaskSAMPlans."
        )
