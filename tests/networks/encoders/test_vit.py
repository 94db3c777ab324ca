import pytest
import torch

from msam_nn.networks.encoders.vit import PatchEmbed

from ..golden import relative_error, tiny_image, tiny_model
from ..oracle import explicit_scores, padded_windows


def test_patch_embedding_by_hand():
    """A kernel of ones sums the 8 voxels of each patch; the token axes keep the array's order."""
    embed = PatchEmbed(1, 1, (2, 2, 2))
    torch.nn.init.ones_(embed.proj.weight)
    torch.nn.init.zeros_(embed.proj.bias)
    image = torch.zeros(1, 1, 2, 4, 6)
    image[0, 0, 1, 2, 5] = 3
    tokens = embed(image)
    assert tokens.shape == (1, 1, 2, 3, 1)
    assert tokens.flatten().tolist() == [0, 0, 0, 0, 0, 3]


def test_windows_and_global_blocks():
    encoder = tiny_model(depth=4, window_size=3, global_blocks=(1, 3)).image_encoder
    assert [block.attn.window for block in encoder.blocks] == [(3, 3, 3), (2, 3, 4), (3, 3, 3), (2, 3, 4)]
    assert encoder.blocks[0].attn.rel_pos_w.shape == (5, 12)
    assert encoder.blocks[1].attn.rel_pos_w.shape == (7, 12)
    encoder = tiny_model(window_size=0).image_encoder
    assert [block.attn.window for block in encoder.blocks] == [(2, 3, 4)] * 2


@pytest.mark.parametrize(
    "changes",
    [{}, {"relative_position": "sammed3d", "patch_size": (32, 32, 32)}, {"lora_rank": 2}],
    ids=["decomposed", "sammed3d", "lora"],
)
def test_encoder_equals_padded_windows(changes):
    model = tiny_model(**changes)
    image = tiny_image(model)

    def run():
        image.requires_grad_()
        embedding = model.image_encoder(image)
        trained = [p for p in model.image_encoder.parameters() if p.requires_grad]
        return embedding, *torch.autograd.grad(embedding.square().sum(), (image, *trained))

    with padded_windows(explicit_scores):
        expected = run()
    for ours, truth in zip(run(), expected, strict=True):
        assert torch.equal(ours, truth) if not truth.any() else relative_error(ours, truth.detach()) <= 1e-5


def test_output_shape_and_layer_norm():
    model = tiny_model(in_channels=2)
    embedding = model.image_encoder(tiny_image(model))
    assert embedding.shape == (2, 48, 2, 3, 4)
    with torch.no_grad():
        model.image_encoder.neck[3].weight.fill_(1)
        model.image_encoder.neck[3].bias.zero_()
    embedding = model.image_encoder(tiny_image(model))
    torch.testing.assert_close(embedding.mean(1), torch.zeros(2, 2, 3, 4), atol=1e-5, rtol=0)


def test_autocast_bfloat16():
    model = tiny_model()
    image = tiny_image(model)
    with torch.no_grad():
        expected = model.image_encoder(image)
        with torch.autocast("cpu", torch.bfloat16):
            ours = model.image_encoder(image)
    assert relative_error(ours.float(), expected) <= 3e-2
