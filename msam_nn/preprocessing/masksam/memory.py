"""How much memory a training step of MaskSAM takes, by formula: see :mod:`msam_nn.preprocessing.memory`."""

from msam_nn.networks.masksam import MaskSAMConfig
from msam_nn.preprocessing.memory import GB


def training_memory_gb(config: MaskSAMConfig, batch_size: int) -> float:
    return (weights_bytes(config) + batch_size * bytes_per_sample(config)) / GB


def weights_bytes(config: MaskSAMConfig) -> int:
    return 100 * 2**20


def bytes_per_sample(config: MaskSAMConfig) -> int:
    t, h, w = config.patch_size
    return 4 * t * h * w * 400
