"""MaskSAM's memory formula against what a real training step keeps alive."""

from dataclasses import replace

import pytest
import torch

from msam_nn.networks.masksam import MaskSAM, MaskSAMConfig
from msam_nn.preprocessing.masksam.memory import bytes_per_sample, count_parameters, weights_bytes
from msam_nn.preprocessing.memory import TRANSIENT
from msam_nn.trainers.masksam.losses import SetLoss
from msam_nn.trainers.masksam.targets import set_targets


def config(trunk="tiny", patch=(4, 32, 48), classes=3, channels=1, queries=8, **changes):
    return MaskSAMConfig.of_trunk(
        trunk, in_channels=channels, num_classes=classes, patch_size=patch, n_queries=queries, **changes
    )


def small_sam(**changes):
    """Frozen, windowed and upsampled as SAM is, narrow enough for a test."""
    return config("vit_b", **{"embed_dim": 96, "depth": 4, "num_heads": 3, "window_size": 7, "global_blocks": (1, 3),
                              "decoder_dim": 64, "decoder_mlp_dim": 512, "upsampling": 4, **changes})  # fmt: skip


def saved_bytes(config: MaskSAMConfig, batch_size: int) -> int:
    """Bytes of all tensors that live when the backward pass of a training step begins, without the weights."""
    network, storages = MaskSAM(config).train(), {}

    def keep(tensor):
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    image = keep(torch.randn(batch_size, config.in_channels, *config.patch_size))
    if config.background:
        target = torch.randint(config.num_classes, (batch_size, 1, *config.patch_size), dtype=torch.int16)
    else:
        target = torch.randint(2, (batch_size, config.num_classes, *config.patch_size), dtype=torch.int16)
    targets = set_targets(
        keep(target), num_outputs=config.num_classes, has_regions=not config.background, ignore_label=None
    )
    keep(targets.masks)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = network(image)
        SetLoss()(prediction, targets)
    for output in prediction:
        keep(output)
    for parameter in network.parameters():
        storages.pop(parameter.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(
    ("config", "batch_size"),
    [
        (config(token_size=4), 2),
        (config(token_size=8, patch=(8, 64, 48)), 1),
        (config(token_size=16, patch=(3, 64, 96), classes=5, channels=2, queries=16), 1),
        (config(token_size=4, patch=(1, 64, 64), classes=2), 3),
        (config(token_size=4, background=False), 2),
        (config(token_size=4, checkpoint_blocks=True), 2),
        (small_sam(), 1),
        (small_sam(checkpoint_blocks=True), 1),
        (small_sam(upsampling=1, patch=(6, 128, 160), classes=6, queries=16), 1),
    ],
    ids=["fine tokens", "middle tokens", "coarse tokens", "one slice", "regions", "tiny, recomputed", "SAM, upsampled",
         "SAM, recomputed", "SAM, as it is"],
)  # fmt: skip
def test_formula_is_within_20_percent_of_what_autograd_saves(config, batch_size):
    expected = batch_size * bytes_per_sample(config) / TRANSIENT
    if config.checkpoint_blocks:  # the block that is computed again comes on top of what is saved before
        expected -= batch_size * recomputed_bytes(config)
    assert expected == pytest.approx(saved_bytes(config, batch_size), rel=0.2)


def recomputed_bytes(config: MaskSAMConfig) -> float:
    """What the formula counts for one block of the trunk and one layer of the decoder."""
    plain = replace(config, checkpoint_blocks=False)
    deeper = replace(plain, depth=config.depth + 1)
    wider = replace(plain, decoder_depth=config.decoder_depth + 1)
    base = bytes_per_sample(plain)
    return (bytes_per_sample(deeper) + bytes_per_sample(wider) - 2 * base) / TRANSIENT


@pytest.mark.parametrize(
    "config",
    [
        config(token_size=4),
        config(token_size=16, patch=(9, 64, 96), classes=5, queries=16),
        small_sam(),
        config("vit_b"),
    ],
)
def test_parameters_are_counted_exactly(config):
    with torch.device("meta"):
        parameters = list(MaskSAM(config).parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    assert count_parameters(config) == (trained, total)
    assert weights_bytes(config) == 16 * trained + 4 * (total - trained)
