"""Networks as default plans have them for a cubic patch of isotropic voxels, with random weights."""

from __future__ import annotations

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from msam_nn.networks import MSAM, PromptableNetwork
from msam_nn.networks.msam import build
from msam_nn.networks.msam_unet import MSAMUNet
from msam_nn.preprocessing.architecture import design_architecture

NNUNET, A, B = "nnU-Net's U-Net", "M-SAM (A)", "M-SAM on the U-Net (B)"
LEAST_EDGE, MOST_FEATURES = 4, 320
"""nnU-Net halves while an edge stays at least so long, and doubles features up to so many."""


def unet(patch: int, *, in_channels: int = 1, num_outputs: int = 2, deep_supervision: bool = False) -> PlainConvUNet:
    """What nnU-Net's default planner gives patches of ``patch`` voxels an axis."""
    n_stages, edge = 1, patch
    while edge % 2 == 0 and edge // 2 >= LEAST_EDGE and n_stages < 6:
        n_stages, edge = n_stages + 1, edge // 2
    return PlainConvUNet(
        input_channels=in_channels,
        n_stages=n_stages,
        features_per_stage=[min(MOST_FEATURES, 32 * 2**stage) for stage in range(n_stages)],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1] + [2] * (n_stages - 1),
        n_conv_per_stage=2,
        num_classes=num_outputs,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
    )


def msam(patch: int, n_cases: int = 20) -> MSAM:
    """What ``MSAMPlanner`` gives: one class."""
    network = build(design_architecture((patch,) * 3, (1.0, 1.0, 1.0), n_cases=n_cases).config())
    network.freeze_multimask_output()
    return network


def msam_unet(patch: int, deep_supervision: bool = False) -> MSAMUNet:
    """``MSAMUNetTrainer``'s on :func:`unet`: one class."""
    return MSAMUNet(
        unet(patch, deep_supervision=deep_supervision),
        patch_size=(patch,) * 3,
        num_outputs=2,
        background=True,
        spacing=(1.0, 1.0, 1.0),
    )


def promptable(name: str, patch: int) -> PromptableNetwork:
    """:data:`A` or :data:`B`, the same weights every time."""
    torch.manual_seed(0)
    return {A: msam, B: msam_unet}[name](patch)
