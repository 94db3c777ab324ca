"""The weights of a trained nnU-Net, put into the promptable network around its U-Net."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from msam_nn.networks.msam_unet import MSAMUNet
from msam_nn.networks.weights.sam_med3d import CheckpointError, LoadReport


def is_unet_state(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a U-Net of nnU-Net's."""
    return any(key.startswith("decoder.seg_layers.") for key in weights)


def load_unet(network: MSAMUNet, weights: Mapping[str, Tensor]) -> LoadReport:
    """Load a trained U-Net and mark it as given, so that training freezes it; what clicks need stays new.

    Raises:
        CheckpointError: if a tensor is missing, left over or of another shape. The network is untouched.
    """
    own = network.unet.state_dict()
    missing, left_over = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or left_over:
        which = f"lacks {missing[0]}" if missing else f"has {left_over[0]} too many"
        raise CheckpointError(f"the U-Net {which}: it was trained with other plans.")
    for key, tensor in own.items():
        if weights[key].shape != tensor.shape:
            raise CheckpointError(
                f"{key} has shape {tuple(weights[key].shape)}, these plans need {tuple(tensor.shape)}: it was trained "
                f"with other plans, or on other channels or classes."
            )
    network.unet.load_state_dict(weights)
    network.unet_is_given.fill_(True)
    report = LoadReport("nnU-Net")
    report.loaded = [key for key, _ in network.unet.named_parameters()]
    report.new = [key for key, _ in network.named_parameters() if not key.startswith("unet.")]
    return report
