import json

import pytest
import torch

from msam_nn.networks import BUILDER, MSAM, MSAMConfig

from ..golden import tiny_config


@pytest.mark.parametrize(
    "config", [tiny_config(), tiny_config(num_classes=3, background=False), MSAMConfig.sam_med3d()]
)
def test_round_trip_through_json(config):
    kwargs = json.loads(json.dumps(config.to_arch_kwargs()))
    assert MSAMConfig.from_arch_kwargs(config.in_channels, config.num_outputs, kwargs) == config


def test_nnunet_builds_the_network_from_plans():
    get_network_from_plans = pytest.importorskip("nnunetv2.utilities.get_network_from_plans").get_network_from_plans
    config = tiny_config(num_classes=2)
    arch_kwargs = json.loads(json.dumps(config.to_arch_kwargs()))
    for deep_supervision in (True, False):
        network = get_network_from_plans(
            BUILDER, arch_kwargs, [], 1, 3, allow_init=True, deep_supervision=deep_supervision
        )
        assert isinstance(network, MSAM) and network.config == config


def test_derived_sizes():
    config = MSAMConfig(in_channels=1, num_classes=2, patch_size=(32, 96, 160), token_size=(4, 8, 16))
    assert config.grid_size == (8, 12, 10)
    assert config.n_tokens == 960
    assert config.mask_size == (32, 48, 40)
    assert config.num_outputs == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (16, 24, 36)}, r"\(16, 24, 36\) is not a multiple .*\(8, 8, 8\).*nearest .*\(16, 24, 32\)"),
        ({"patch_size": (16, 24), "token_size": (8, 8)}, "3D"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"num_heads": 5}, "embed_dim / num_heads: 24 is not a multiple of 5"),
        ({"adapter_heads": 7}, "decoder_dim / adapter_heads: 48 is not a multiple of 7"),
        ({"decoder_dim": 36, "adapter_heads": 2}, "decoder_dim 36 must be a multiple of 24"),
        ({"relative_position": "learned"}, "'learned'"),
        ({"relative_position": "sammed3d"}, r"cubic token grid, got \(2, 3, 4\)"),
        ({"n_auto_stages": 0}, "n_auto_stages must be at least 1, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_plans_of_another_version_are_refused():
    kwargs = tiny_config().to_arch_kwargs()
    with pytest.raises(ValueError, match="does not know: quantum_heads"):
        MSAMConfig.from_arch_kwargs(1, 2, {**kwargs, "quantum_heads": 3})
    del kwargs["patch_size"]
    with pytest.raises(ValueError, match="no patch_size"):
        MSAMConfig.from_arch_kwargs(1, 2, kwargs)


@pytest.mark.parametrize(
    ("adapter", "lora_rank", "trained", "total"),
    [(False, 0, 100_509_232, 100_509_232), (True, 4, 24_876_784, 117_801_712)],
)
@pytest.mark.parametrize("num_classes", [1, 3])
def test_released_parameter_counts(adapter, lora_rank, trained, total, num_classes):
    """But for the class embeddings, 384 a class, which the released networks do not have."""
    with torch.device("meta"):
        model = MSAM(MSAMConfig.sam_med3d(adapter=adapter, lora_rank=lora_rank, num_classes=num_classes))
    extra = 384 * num_classes
    assert model.parameter_counts() == (trained + extra, total + extra)
