"""MaskSAM: its configuration and the network."""

from msam_nn.networks.masksam.config import MaskSAMConfig
from msam_nn.networks.masksam.network import BUILDER, MaskSAM, SetPrediction, build_from_plans

__all__ = ["BUILDER", "MaskSAM", "MaskSAMConfig", "SetPrediction", "build_from_plans"]
