"""SAM's encoder against its published form, alone and with adapters that start at zero; then what adapters add."""

import sys

import pytest
import torch

from msam_nn.networks.encoders.sam import AdaptedBlock, SAMImageEncoder, fit_positions
from msam_nn.networks.layers.attention import GridAttention
from msam_nn.networks.layers.depth_adapter import DepthModule

from ..oracle import attending_by
from ..sam_oracle import attention_of, stock_encoder

GEOMETRY = dict(embed_dim=16, depth=2, num_heads=2, global_blocks=(1,), output_dim=8, token_size=4)


def random_encoder(**changes) -> SAMImageEncoder:
    """Every tensor of SAM large enough to matter."""
    torch.manual_seed(0)
    encoder = SAMImageEncoder(**{**GEOMETRY, **changes})
    for name, parameter in encoder.named_parameters():
        if "adapter" not in name and "depth" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def wake_adapters(module: torch.nn.Module) -> None:
    for adapter in (m for m in module.modules() if isinstance(m, DepthModule)):
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.5)


@pytest.mark.parametrize("grid", [(16, 16), (32, 32), (64, 64), (16, 30)], ids=str)
def test_adapters_at_zero_leave_stock_sam(grid):
    """Windows of 14 need padding on all of these grids."""
    encoder = random_encoder(n_slices=2, feature_blocks=(0, 1))
    slices = torch.randn(2, 3, *(4 * g for g in grid))
    with torch.no_grad():
        ours = encoder(slices)
        for i in range(2):
            blocks, embedding = stock_encoder(
                encoder.state_dict(), slices[i : i + 1], num_heads=2, window=14, global_blocks=(1,)
            )
            for mine, stock in zip(ours.blocks, blocks, strict=True):
                torch.testing.assert_close(mine[i].movedim(0, -1), stock[0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(ours.embedding[i], embedding[0], rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_padded_windows():
    encoder = random_encoder(n_slices=2)
    wake_adapters(encoder)
    slices = torch.randn(2, 3, 64, 72)
    gradients = []
    for attention in (GridAttention.forward, attention_of):
        with attending_by(attention):
            loss = (encoder(slices).embedding * torch.linspace(-1, 1, 18)).sum()
        gradients.append(torch.autograd.grad(loss, list(encoder.parameters())))
    for fast, stock in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, stock, rtol=1e-3, atol=1e-3 * float(stock.abs().max()))


def test_transformers_computes_the_same(monkeypatch):
    """An independent implementation. Its tables have the size of the image: it gets the cut ones."""
    monkeypatch.setitem(sys.modules, "torchvision", None)  # of no use here, and often one for another torch
    sam = pytest.importorskip("transformers.models.sam.modeling_sam", reason="pip install transformers")
    config = sam.SamVisionConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_dim=64, output_channels=8, image_size=64,
        patch_size=4, window_size=14, global_attn_indexes=[1], qkv_bias=True, use_rel_pos=True, use_abs_pos=True,
    )  # fmt: skip
    theirs = sam.SamVisionEncoder(config)
    ours = random_encoder(n_slices=1)
    renamed = {"patch_embed.proj.": "patch_embed.projection.", "blocks.": "layers.", ".norm1.": ".layer_norm1.",
               ".norm2.": ".layer_norm2.", "neck.0.": "neck.conv1.", "neck.1.": "neck.layer_norm1.",
               "neck.2.": "neck.conv2.", "neck.3.": "neck.layer_norm2."}  # fmt: skip
    state = {}
    for name, tensor in ours.state_dict().items():
        if "adapter" in name or "depth" in name:
            continue
        for old, new in renamed.items():
            name = name.replace(old, new)
        if name == "pos_embed":
            tensor = tensor[:, :16, :16]
        elif "layers.1." in name and "rel_pos" in name:
            tensor = tensor[48:-48]
        state[name] = tensor
    theirs.load_state_dict(state)
    slices = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval()(slices).last_hidden_state
        torch.testing.assert_close(ours(slices).embedding, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [4, None])
def test_a_slice_reaches_every_token_of_its_neighbours(window):
    """Five slices do not divide the nine windows of a slice: depth taken from the wrong axis would show."""
    torch.manual_seed(0)
    attention = GridAttention(dim=8, num_heads=2, window=window and (window,) * 2, table_size=(10, 10))
    block = AdaptedBlock(attention, 4, n_slices=5, adapter_ratio=0.5)
    wake_adapters(block)
    x = torch.randn(10, 10, 10, 8)
    other = x.clone()
    other[7] += torch.randn(10, 10, 8)
    for part in (lambda x: block.attn_adapter(block.attn(block.norm1(x))), block):
        changed = (part(other) != part(x)).any(-1)
        assert changed[6:9].all(), "slice 2 of the second volume reaches slices 1 to 3 everywhere"
        if part is not block:
            assert not changed[[0, 1, 2, 3, 4, 5, 9]].any()
    assert not changed[:5].any()


def test_volumes_of_a_batch_are_independent():
    encoder = random_encoder(n_slices=3, feature_blocks=(0,))
    wake_adapters(encoder)
    slices = torch.randn(6, 3, 20, 12)
    both, first, second = encoder(slices), encoder(slices[:3]), encoder(slices[3:])
    torch.testing.assert_close(both.embedding, torch.cat([first.embedding, second.embedding]))
    torch.testing.assert_close(both.blocks[0], torch.cat([first.blocks[0], second.blocks[0]]))


def test_alone_it_is_sam_and_nothing_else():
    encoder = random_encoder()
    assert not any(isinstance(module, DepthModule) for module in encoder.modules())
    assert encoder(torch.randn(5, 3, 16, 24)).embedding.shape == (5, 8, 4, 6)


def test_feature_blocks_come_shallow_to_deep():
    encoder = random_encoder(depth=3, feature_blocks=(0, 2))
    x = encoder.patch_embed(torch.ones(1, 3, 8, 8)) + encoder.pos_embed[:, :2, :2]
    x = encoder.blocks[0](x)
    shallow, deep = encoder(torch.ones(1, 3, 8, 8)).blocks
    torch.testing.assert_close(shallow, x.movedim(-1, 1))
    assert deep.shape == shallow.shape and not torch.allclose(deep, shallow)


def test_recomputing_changes_no_gradient():
    gradients = []
    for checkpoint_blocks in (False, True):
        encoder = random_encoder(n_slices=2, checkpoint_blocks=checkpoint_blocks)
        torch.manual_seed(1)
        encoder(torch.randn(2, 3, 24, 24)).embedding.square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    torch.testing.assert_close(*gradients)


def test_positions_of_small_and_of_large_grids():
    table = torch.arange(6.0).reshape(1, 2, 3, 1)
    assert fit_positions(table, 1, 2).flatten().tolist() == [0, 1]
    assert fit_positions(table, 4, 2).shape == (1, 4, 2, 1)
    torch.testing.assert_close(fit_positions(torch.ones(1, 2, 2, 3), 3, 5), torch.ones(1, 3, 5, 3))
    encoder = random_encoder(table_size=4)
    assert encoder(torch.randn(1, 3, 20, 12)).embedding.shape == (1, 8, 5, 3)
