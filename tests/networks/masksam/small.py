"""Networks small enough for quick tests."""

import torch

from msam_nn.networks.masksam import MaskSAM, MaskSAMConfig


def small_config(**changes) -> MaskSAMConfig:
    fields = dict(
        in_channels=1, num_classes=3, patch_size=(3, 16, 24), n_queries=4, upsampling=2, embed_dim=16, depth=4,
        num_heads=2, window_size=2, global_blocks=(1, 3), canvas=64, decoder_dim=32, decoder_heads=4,
        decoder_mlp_dim=32, generator_widths=(8, 8, 8, 4, 4),
    )  # fmt: skip
    return MaskSAMConfig(**{**fields, **changes})


def small_network(seed: int = 0, **changes) -> MaskSAM:
    torch.manual_seed(seed)
    return MaskSAM(small_config(**changes))


def random_image(config: MaskSAMConfig, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, config.in_channels, *config.patch_size, generator=generator)
