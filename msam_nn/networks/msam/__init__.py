"""M-SAM: its configuration and the network."""

from msam_nn.networks.msam.builder import BUILDER, build, build_from_plans
from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.msam.correcting import CorrectingMSAM
from msam_nn.networks.msam.network import MSAM, ImageFeatures, RefinementState

__all__ = [
    "BUILDER",
    "MSAM",
    "CorrectingMSAM",
    "ImageFeatures",
    "MSAMConfig",
    "RefinementState",
    "build",
    "build_from_plans",
]
