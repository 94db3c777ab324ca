import pytest

from msam_nn.errors import UserError
from msam_nn.preprocessing.masksam.design import count_queries, design_for_image
from msam_nn.preprocessing.masksam.memory import training_memory_gb


def design(shape, memory_gb, classes=3, trunk="vit_b", **options):
    return design_for_image(
        shape, trunk=trunk, in_channels=1, num_classes=classes, background=True, memory_gb=memory_gb, **options
    )


@pytest.mark.parametrize(("classes", "queries"), [(1, 8), (4, 8), (5, 8), (6, 16), (14, 24), (16, 24), (17, 32)])
def test_queries_of_the_paper_and_between(classes, queries):
    assert count_queries(classes) == queries


def test_published_configuration_of_amos_where_memory_allows():
    config = design((90, 512, 512), 80, classes=16, trunk="vit_h").config
    assert config.patch_size == (9, 512, 512) and config.upsampling == 1
    assert config.n_queries == 24 and config.embed_dim == 1280


def test_small_slices_are_upsampled_to_sams_canvas_where_memory_allows():
    planned = design((10, 256, 256), 40, classes=4)
    assert planned.config.patch_size == (4, 256, 256) and planned.config.upsampling == 4  # ACDC in the paper
    assert planned.config.freeze_trunk
    assert "slices upsampled x4" in planned.notes[3] and "needs its weights" in planned.notes[0]


def test_little_memory_chooses_the_trunk_that_trains_from_scratch():
    planned = design((36, 50, 35), 0.5)
    assert not planned.config.freeze_trunk and planned.config.embed_dim == 192
    assert planned.config.upsampling == 1 and planned.config.token_size == 8
    assert planned.config.patch_size[0] >= 9 and planned.config.patch_size[1:] == (56, 40)
    assert "-gpu_memory_target is 0.5" in planned.notes[0]


def test_the_tiny_trunk_can_be_had_with_much_memory():
    planned = design((36, 50, 35), 8, trunk="tiny")
    assert not planned.config.freeze_trunk and planned.config.token_size == 4
    assert planned.config.patch_size == (36, 52, 36)


@pytest.mark.parametrize("shape", [(36, 50, 35), (90, 512, 512), (1, 700, 400), (200, 9, 9), (1, 4, 4), (2, 4, 4)])
@pytest.mark.parametrize("memory_gb", [1, 8])
def test_every_design_fits_its_memory_and_its_image(shape, memory_gb):
    planned = design(shape, memory_gb)
    assert training_memory_gb(planned.config, 2) <= memory_gb
    assert planned.config.patch_size[0] <= shape[0]
    assert len(planned.notes) in (5, 6)


def test_too_little_memory_is_said():
    with pytest.raises(UserError, match=r"-gpu_memory_target 0\.01 is too little.* Use at least 0\.5 GB"):
        design((36, 50, 35), 0.01)
