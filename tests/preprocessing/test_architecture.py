import pytest
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

from msam_nn.errors import UserError
from msam_nn.networks import BUILDER, MSAMConfig
from msam_nn.networks.encoders.pyramid import level_steps, pyramid_strides
from msam_nn.preprocessing.architecture import (
    MODEL_SIZES,
    choose_model_size,
    choose_pyramid,
    design_architecture,
    design_for_image,
    fit_tokens,
    token_budget,
    token_edges,
)
from msam_nn.preprocessing.memory import training_memory_gb


@pytest.mark.parametrize(
    ("spacing", "finest", "expected"),
    [
        ((1, 1, 1), 8, (8, 8, 8)),
        ((1, 1, 1), 4, (4, 4, 4)),
        ((4, 1, 1), 16, (4, 16, 16)),
        ((2, 1, 1), 16, (8, 16, 16)),
        ((10, 1.5, 1.5), 16, (4, 16, 16)),
        ((10, 1.5, 1.5), 8, (4, 8, 8)),
        ((5.5, 3.3, 5.5), 8, (8, 8, 8)),
        ((2.5, 0.8, 0.8), 16, (8, 16, 16)),
    ],
)
def test_tokens_have_half_the_voxels_for_each_doubling_of_the_spacing(spacing, finest, expected):
    assert token_edges(spacing, finest) == expected


@pytest.mark.parametrize("spacing", [(1, 1, 1), (5.5, 3.3, 5.5), (2, 1, 1), (2.5, 0.8, 0.8), (5, 1, 1), (1, 1.3, 2.1)])
def test_the_pyramid_halves_the_axes_that_nnu_net_pools(spacing):
    pooled = get_pool_and_conv_props(spacing, (128, 128, 128), 4, 999999)[1]
    assert level_steps(pyramid_strides(token_edges(spacing, 16))) == [tuple(step) for step in pooled[1:5]]


def test_token_budget_grows_with_the_root_of_memory():
    assert token_budget(8) == 1024 and token_budget(32) == 2048 and token_budget(2) == 512


def design(shape, spacing=(1, 1, 1), memory_gb=8, *, num_classes=1, n_cases=20, in_channels=1):
    return design_for_image(
        shape,
        spacing,
        n_cases=n_cases,
        in_channels=in_channels,
        num_classes=num_classes,
        background=True,
        memory_gb=memory_gb,
    )


def test_small_images_get_fine_tokens_and_whole_image_patches():
    small = design((35.0, 51.0, 35.0), memory_gb=12)
    assert small.token_size == (4, 4, 4) and small.patch_size == (36, 52, 36)
    assert len(small.notes) == 4 and "100%" in small.notes[1]


def test_networks_from_scratch_start_at_the_odds_of_a_rare_lesion():
    assert design((35.0, 51.0, 35.0)).to_plans(background=True)["arch_kwargs"]["mask_prior"] == -3.0
    assert MSAMConfig.sam_med3d().mask_prior == 0.0


def test_sharp_clicks_go_with_a_pyramid():
    """Tokens of 4, 8 or 16 voxels allow one; those of 5 do not."""
    fine, coarse = (design_architecture((size,) * 3, (1, 1, 1), n_cases=20).config() for size in (64, 25))
    assert fine.pyramid == (16, 32, 64, 128) and fine.initial_masks and fine.click_sigma == 2.0
    assert set(coarse.token_size) == {5} and coarse.click_sigma == 5.0
    assert coarse.pyramid == () and not coarse.initial_masks


def test_large_images_get_coarse_tokens_within_the_budget():
    large = design((130.0, 512.0, 512.0), (2.5, 0.8, 0.8))
    assert large.config().n_tokens <= 1024 and large.token_size == (8, 16, 16)
    assert all(p <= 1.2 * m for p, m in zip(large.patch_size, (130, 512, 512), strict=True))


@pytest.mark.parametrize("shape", [(10, 256, 216), (600, 400, 400), (155, 240, 240), (5, 20, 20), (1.4, 30, 30)])
@pytest.mark.parametrize("memory_gb", [0.5, 8, 80])
def test_every_patch_trains_two_samples_within_the_memory(shape, memory_gb):
    planned = design(shape, memory_gb=memory_gb, num_classes=8, in_channels=4, n_cases=2000)
    config = planned.config(in_channels=4, num_classes=8)
    assert training_memory_gb(config, 2) <= memory_gb
    assert all(p < s + t for p, s, t in zip(planned.patch_size, shape, planned.token_size, strict=True))


def test_half_of_the_image_comes_before_finer_tokens():
    """0.5 GB allows 256 tokens: 40 x 64 x 40 voxels have 200 of 8 voxels an edge, 60 x 90 x 60 have 768."""
    assert design((40, 64, 40), memory_gb=0.5).token_size == (8, 8, 8)
    large = design((60, 90, 60), memory_gb=0.5)
    assert large.token_size == (16, 16, 16) and "too little of the image" in large.notes[0]


def test_stages_are_recomputed_where_that_makes_the_patch_larger():
    few, many = design((128, 128, 128), memory_gb=8), design((128, 128, 128), memory_gb=8, num_classes=8)
    assert not few.checkpoint_stages and many.checkpoint_stages
    assert "computed again" in " ".join(many.notes)


def test_too_little_memory_is_refused_with_a_number():
    with pytest.raises(UserError, match="Use at least 0.5 GB"):
        design((64, 64, 64), memory_gb=0.05)


def test_foreign_patches_keep_their_size_and_get_tokens_that_divide_them():
    for patch in ((40, 56, 40), (20, 320, 256), (9, 64, 64), (14, 14, 14), (128, 128, 128)):
        tokens = fit_tokens(patch, (1, 1, 1))
        assert all(p % t == 0 for p, t in zip(patch, tokens, strict=True)), (patch, tokens)
    assert fit_tokens((128, 128, 128), (1, 1, 1)) == (16, 16, 16)
    assert fit_tokens((9, 64, 64), (5, 1, 1))[0] in (1, 3)


def test_model_size_follows_cases_and_memory():
    assert choose_model_size(20, 8)[0] == "tiny"
    assert choose_model_size(300, 8)[0] == "small"
    assert choose_model_size(300, 2)[0] == "tiny"
    assert choose_model_size(2000, 24)[0] == "base"


@pytest.mark.parametrize(("memory_gb", "finest"), [(0.5, 16), (8, 16), (20, 32)])
def test_the_pyramid_follows_memory(memory_gb, finest):
    assert choose_pyramid(memory_gb) == (finest, 2 * finest, 4 * finest, 8 * finest)
    assert design((64, 64, 64), memory_gb=memory_gb).config().pyramid == choose_pyramid(memory_gb)


@pytest.mark.parametrize("size", MODEL_SIZES)
def test_all_sizes_are_valid(size):
    MSAMConfig(in_channels=1, num_classes=1, patch_size=(32, 32, 32), token_size=(8, 8, 8), **MODEL_SIZES[size])


def test_design_becomes_a_plans_entry():
    entry = design_architecture((32, 32, 32), (1, 1, 1), n_cases=10).to_plans(background=False)
    assert entry["network_class_name"] == BUILDER
    config = MSAMConfig.from_arch_kwargs(2, 3, entry["arch_kwargs"])
    assert config.patch_size == (32, 32, 32) and config.num_classes == 3 and config.in_channels == 2


@pytest.mark.parametrize(
    ("options", "recomputes"), [({}, False), ({"num_classes": 8}, True), ({"batch_size": 8}, True)]
)
def test_a_given_patch_that_needs_more_memory_has_its_stages_computed_again(options, recomputes):
    design = design_architecture((128,) * 3, (1, 1, 1), n_cases=20, **options)
    assert design.checkpoint_stages is recomputes
