"""M-SAM, a promptable 3D segmentation network, as a plug-in for nnU-Net v2."""

__version__ = "0.1.0"
