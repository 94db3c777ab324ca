"""Pure PyTorch modules: nothing here knows nnU-Net, and only ``weights`` the file system."""

from msam_nn.networks.msam import BUILDER, MSAM, ImageFeatures, MSAMConfig, RefinementState
from msam_nn.networks.promptable import Points, PromptableNetwork

__all__ = ["BUILDER", "MSAM", "ImageFeatures", "MSAMConfig", "Points", "PromptableNetwork", "RefinementState"]
