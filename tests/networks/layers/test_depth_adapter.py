import pytest
import torch
from torch import nn

from msam_nn.networks.layers.depth_adapter import (
    AdaptedCrossAttention,
    AdaptedMLP,
    DepthConvAdapter,
    DepthEmbedding,
    DepthMLPAdapter,
    sam_names,
)


def ones(module: nn.Module) -> nn.Module:
    """All weights 1, all biases 0."""
    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, float(name.endswith("weight")))
    return module


@pytest.mark.parametrize(
    ("adapter", "shape", "parameters"),
    [
        (DepthConvAdapter(768, 4, 0.25), (4, 3, 2, 768), 301_632),
        (DepthConvAdapter(256, 9, 0.25, grid_size=(3, 2)), (18, 6, 256), 35_008),
        (DepthMLPAdapter(256, 9, 0.25), (18, 8, 256), 33_781),
        (DepthMLPAdapter(256, 1, 0.25), (2, 8, 256), 33_088 + 8 + 5),
    ],
)
def test_size_and_start_at_zero(adapter, shape, parameters):
    assert sum(p.numel() for p in adapter.parameters()) == parameters
    out = adapter(torch.randn(shape))
    assert out.shape == shape and not out.any()


@pytest.mark.parametrize("flat", [False, True])
def test_convolution_reaches_the_neighbours_in_space_and_depth(flat):
    adapter = ones(DepthConvAdapter(4, 3, 0.5, grid_size=(4, 5) if flat else None))
    adapter.norm = nn.Identity()
    x = torch.zeros(6, 4, 5, 4)
    x[4, 1, 2] = 1  # the middle slice of the second volume
    out = adapter(x.flatten(1, 2) if flat else x).reshape(x.shape)
    reached = (out != 0).any(-1)
    expected = torch.zeros(6, 4, 5, dtype=torch.bool)
    expected[3:6, 0:3, 1:4] = True
    assert torch.equal(reached, expected)


def test_tokens_are_mixed_with_the_same_token_of_other_slices():
    adapter = ones(DepthMLPAdapter(4, 3, 0.5))
    x = torch.zeros(6, 2, 4)
    x[4, 1] = 1
    assert (adapter(x) != 0).any(-1).tolist() == [[False, False]] * 3 + [[False, True]] * 3


def test_depth_embedding():
    embedding = DepthEmbedding(3, 2)
    x = torch.randn(6, 4, 5, 2)
    assert torch.equal(embedding(x), x)
    with torch.no_grad():
        embedding.weight.copy_(torch.tensor([[0.0, 0], [1, 2], [0, 0]]))
    added = embedding(x) - x
    assert not added[[0, 2, 3, 5]].any()
    torch.testing.assert_close(added[[1, 4]], torch.tensor([1.0, 2]).expand(2, 4, 5, 2))


def test_adapted_layers_start_as_the_plain_ones():
    attention = AdaptedCrossAttention(8, 2, 4, DepthMLPAdapter(8, 2, 0.5))
    mlp = AdaptedMLP(8, 16, nn.ReLU, DepthMLPAdapter(8, 2, 0.5))
    x = torch.randn(2, 3, 8)
    plain = [super(type(layer), layer).forward(*x_) for layer, x_ in ((attention, (x, x, x)), (mlp, (x,)))]
    assert torch.equal(attention(x, x, x), plain[0]) and torch.equal(mlp(x), plain[1])
    nn.init.ones_(attention.adapter.up.bias)
    nn.init.ones_(mlp.adapter.up.bias)
    torch.testing.assert_close(attention(x, x, x), plain[0] + 1)
    torch.testing.assert_close(mlp(x), plain[1] + 0.5)


def test_names_of_sam():
    model = nn.Module()
    model.stem = nn.Linear(1, 1)
    model.image_encoder = nn.Sequential(nn.Linear(4, 4), DepthConvAdapter(4, 1, 0.5))
    assert sam_names(model) == ["image_encoder.0.weight", "image_encoder.0.bias"]
