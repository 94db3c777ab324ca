"""Pure PyTorch modules: nothing here knows nnU-Net or the file system, but for ``checkpoints``."""

from msam_nn.networks.config import MSAMConfig
from msam_nn.networks.msam import BUILDER, MSAM, ImageFeatures, Points, RefinementState

__all__ = ["BUILDER", "MSAM", "ImageFeatures", "MSAMConfig", "Points", "RefinementState"]
