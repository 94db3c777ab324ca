"""Clicks for nnU-Net's own U-Net."""

from msam_nn.networks.msam_unet.network import MSAMUNet

__all__ = ["MSAMUNet"]
