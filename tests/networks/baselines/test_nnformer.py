"""nnFormer against its published size and shapes, and skip attention against a written-out one."""

import pytest
import torch

pytest.importorskip("monai", reason='needs MONAI: pip install "msam_nn[baselines]"')

from msam_nn.networks.baselines.nnformer import NNFormer, SkipAttention, SkipBlock, embedding_stride  # noqa: E402


def test_as_many_parameters_as_published():
    """150.5 M for Synapse, 14 classes (UNETR++, arXiv 2212.04497, table 1); 151 M in the M-SAM paper's table 1."""
    network = NNFormer(in_channels=1, out_channels=14, stride=(2, 4, 4))
    counted = sum(p.numel() for p in network.parameters())
    assert counted == pytest.approx(150.5e6, rel=0.005)


@pytest.mark.parametrize(("shape", "stride"), [((32, 64, 32), (4, 4, 4)), ((16, 32, 64), (2, 4, 4))])
def test_shapes(shape, stride):
    network = NNFormer(in_channels=2, out_channels=3, stride=stride, dim=48)
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *shape)).shape == (1, 3, *shape)
        network.deep_supervision = True
        scales = [tuple(x.shape[2:]) for x in network(torch.zeros(1, 2, *shape))]
    assert scales == [tuple(edge // 2**level for edge in shape) for level in range(3)]


def test_its_norms_are_torchs_default():
    network = NNFormer(in_channels=1, out_channels=2, stride=(2, 2, 2), dim=48)
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-5}


def test_every_parameter_trains_under_deep_supervision():
    network = NNFormer(in_channels=1, out_channels=2, stride=(2, 2, 2), dim=48)
    network.deep_supervision = True
    sum(x.square().sum() for x in network(torch.randn(1, 1, 32, 16, 16))).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_skip_attention_is_softmax_of_decoder_by_encoder():
    torch.manual_seed(0)
    attention = SkipAttention(8, 2, (2, 2, 2))
    decoder, encoder = torch.randn(3, 8, 8), torch.randn(3, 8, 8)
    q, k, v = (
        torch.nn.functional.linear(x, attention.qkv.weight[i : i + 8], attention.qkv.bias[i : i + 8])
        for x, i in ((decoder, 0), (encoder, 8), (encoder, 16))
    )
    heads = []
    for head in range(2):
        of_head = slice(4 * head, 4 * head + 4)
        scores = q[..., of_head] @ k[..., of_head].transpose(1, 2) / 2
        scores += attention.relative_position_bias_table[attention.relative_position_index][..., head]
        heads.append(scores.softmax(-1) @ v[..., of_head])
    expected = attention.proj(torch.cat(heads, dim=-1))
    assert torch.allclose(attention(decoder, encoder), expected, atol=1e-6)


def test_windows_do_not_see_each_other():
    torch.manual_seed(0)
    block = SkipBlock(8, 2, 2).eval()
    x, skip = torch.randn(1, 8, 4, 4, 4), torch.randn(1, 8, 4, 4, 4)
    changed = skip.clone()
    changed[:, 0, ..., 0] += 1
    difference = (block(x, skip) - block(x, changed)).abs().amax((0, 1, 2, 3))
    assert difference[:2].min() > 1e-4 and difference[2:].max() == 0


def test_a_map_that_windows_do_not_divide():
    block = SkipBlock(8, 2, 4)
    x = torch.randn(1, 8, 6, 4, 5)
    assert block(x, x).shape == x.shape


def test_embedding_stride_of_published_patches():
    assert embedding_stride((128, 128, 128)) == (4, 4, 4)
    assert embedding_stride((64, 128, 128)) == (2, 4, 4)
