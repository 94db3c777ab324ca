"""M-SAM: its configuration and the network."""

from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.msam.network import BUILDER, MSAM, ImageFeatures, RefinementState, build_from_plans

__all__ = ["BUILDER", "MSAM", "ImageFeatures", "MSAMConfig", "RefinementState", "build_from_plans"]
