import json

import pytest

from msam_nn.networks.masksam import BUILDER, MaskSAM, MaskSAMConfig

from .small import small_config


@pytest.mark.parametrize("trunk", ["tiny", "vit_b", "vit_l", "vit_h"])
def test_round_trip_through_json(trunk):
    config = MaskSAMConfig.of_trunk(
        trunk, in_channels=2, num_classes=3, patch_size=(4, 64, 32), n_queries=8, background=False
    )
    kwargs = json.loads(json.dumps(config.to_arch_kwargs()))
    assert MaskSAMConfig.from_arch_kwargs(2, 3, kwargs) == config


def test_nnunet_builds_the_network_from_plans():
    get_network_from_plans = pytest.importorskip("nnunetv2.utilities.get_network_from_plans").get_network_from_plans
    config = small_config()
    arch_kwargs = json.loads(json.dumps(config.to_arch_kwargs()))
    for deep_supervision in (True, False):
        network = get_network_from_plans(
            BUILDER, arch_kwargs, [], 1, 3, allow_init=True, deep_supervision=deep_supervision
        )
        assert isinstance(network, MaskSAM) and network.config == config


def test_derived_sizes():
    config = MaskSAMConfig(in_channels=1, num_classes=4, patch_size=(4, 256, 128), n_queries=8, upsampling=4)
    assert config.voxels_per_token == 4 and config.grid_size == (64, 32) and config.mask_size == (256, 128)
    assert config.canvas_grid == 64 and config.feature_blocks == (2, 5, 8, 11)
    config = MaskSAMConfig.of_trunk("tiny", in_channels=1, num_classes=2, patch_size=(1, 32, 48), n_queries=8, depth=6)
    assert config.grid_size == (2, 3) and config.canvas == 48 and config.feature_blocks == (0, 2, 3, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (32, 32)}, r"\(slices, height, width\), got \(32, 32\)"),
        ({"patch_size": (2, 30, 32)}, r"\(2, 30, 32\) does not divide into tokens of 8 x 8 .* \(2, 32, 32\)"),
        ({"patch_size": (1, 8, 8)}, r"\(1, 8, 8\) is a single token"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"n_queries": 2}, "n_queries 2 must be at least num_classes 3"),
        ({"upsampling": 3}, "upsampling must be 1, 2 or 4, got 3"),
        ({"token_size": 32, "upsampling": 1}, "token_size 32 with upsampling 1"),
        ({"token_size": 8, "upsampling": 4}, "token_size 8 with upsampling 4"),
        ({"num_heads": 5}, "embed_dim / num_heads: 16 is not a multiple of 5"),
        ({"decoder_heads": 5}, "half decoder_dim / decoder_heads: 16 is not a multiple of 5"),
        ({"canvas": 100}, "canvas / token_size: 100 is not a multiple of 16"),
        ({"depth": 3, "global_blocks": ()}, "at least 4 blocks .* depth 3"),
        ({"global_blocks": (4,)}, r"global_blocks \(4,\)"),
        ({"generator_widths": (8, 8)}, r"needs 5 numbers, got \(8, 8\)"),
        ({"adapter_ratio": 0.0}, "adapter_ratio .* got 0.0"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small_config(**changes)


def test_unknown_trunk_is_named():
    with pytest.raises(ValueError, match="'vit_x'.*tiny, vit_b, vit_l, vit_h"):
        MaskSAMConfig.of_trunk("vit_x", in_channels=1, num_classes=2, patch_size=(1, 32, 32), n_queries=8)


def test_plans_of_another_version_or_planner_are_refused():
    kwargs = small_config().to_arch_kwargs()
    with pytest.raises(ValueError, match="does not know: quantum_heads"):
        MaskSAMConfig.from_arch_kwargs(1, 3, {**kwargs, "quantum_heads": 3})
    del kwargs["n_queries"]
    with pytest.raises(ValueError, match="holds no n_queries"):
        MaskSAMConfig.from_arch_kwargs(1, 3, kwargs)
