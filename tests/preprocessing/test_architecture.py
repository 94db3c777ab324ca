from math import prod

import pytest

from msam_nn.networks import BUILDER, MSAMConfig
from msam_nn.preprocessing.architecture import (
    MODEL_SIZES,
    choose_model_size,
    choose_patch,
    design_architecture,
    fit_tokens,
    token_budget,
    token_edges,
)


@pytest.mark.parametrize(
    ("spacing", "finest", "expected"),
    [
        ((1, 1, 1), 8, (8, 8, 8)),
        ((1, 1, 1), 4, (4, 4, 4)),
        ((4, 1, 1), 16, (4, 16, 16)),
        ((2, 1, 1), 16, (8, 16, 16)),
        ((10, 1.5, 1.5), 16, (4, 16, 16)),
    ],
)
def test_tokens_are_about_isotropic_in_mm(spacing, finest, expected):
    assert token_edges(spacing, finest) == expected


def test_token_budget_grows_with_the_root_of_memory():
    assert token_budget(8) == 1024 and token_budget(32) == 2048 and token_budget(2) == 512


def test_small_images_get_fine_tokens_and_whole_image_patches():
    patch, tokens, notes = choose_patch((35.0, 51.0, 35.0), (1, 1, 1), 12)
    assert tokens == (4, 4, 4) and patch == (36, 52, 36)
    assert len(notes) == 2 and "100%" in notes[1]


def test_large_images_get_coarse_tokens_within_the_budget():
    patch, tokens, _ = choose_patch((130.0, 512.0, 512.0), (2.5, 0.8, 0.8), 8)
    assert prod(p // t for p, t in zip(patch, tokens, strict=True)) <= 1024
    assert all(p % t == 0 for p, t in zip(patch, tokens, strict=True))
    assert all(p <= 1.2 * m for p, m in zip(patch, (130, 512, 512), strict=True))


@pytest.mark.parametrize("shape", [(10, 256, 216), (600, 400, 400), (155, 240, 240), (5, 20, 20), (1.4, 30, 30)])
def test_every_patch_makes_a_valid_network(shape):
    patch, tokens, _ = choose_patch(shape, (1, 1, 1), 8)
    MSAMConfig(in_channels=1, num_classes=1, patch_size=patch, token_size=tokens)


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


@pytest.mark.parametrize("size", MODEL_SIZES)
def test_all_sizes_are_valid(size):
    MSAMConfig(in_channels=1, num_classes=1, patch_size=(32, 32, 32), token_size=(8, 8, 8), **MODEL_SIZES[size])


def test_design_becomes_a_plans_entry():
    entry = design_architecture((32, 32, 32), (1, 1, 1), n_cases=10).to_plans(background=False)
    assert entry["network_class_name"] == BUILDER
    config = MSAMConfig.from_arch_kwargs(2, 3, entry["arch_kwargs"])
    assert config.patch_size == (32, 32, 32) and config.num_classes == 3 and config.in_channels == 2
