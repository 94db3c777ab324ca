"""From plans to network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.msam.correcting import CorrectingMSAM
from msam_nn.networks.msam.network import MSAM


def build(config: MSAMConfig, deep_supervision: bool = False, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> MSAM:
    """The network that ``config`` describes; ``spacing`` of the voxels, per axis, is :class:`CorrectingMSAM`'s."""
    return CorrectingMSAM(config, deep_supervision, spacing) if config.initial_masks else MSAM(config)


def build_from_plans(input_channels: int, num_classes: int, deep_supervision: bool = False, **arch_kwargs: Any) -> MSAM:
    """What the plans' ``network_class_name`` names: nnU-Net's ``get_network_from_plans`` calls it.

    ``num_classes`` is nnU-Net's number of segmentation heads. ``deep_supervision`` has an effect on networks with
    initial masks; others are supervised at every refinement stage instead.
    """
    return build(MSAMConfig.from_arch_kwargs(input_channels, num_classes, arch_kwargs), deep_supervision)


BUILDER = "msam_nn.networks.msam.build_from_plans"
"""``network_class_name`` of an M-SAM architecture in nnU-Net's plans."""
