import torch

from msam_nn.networks.layers.two_way import CrossAttention, TwoWayBlock

from ..golden import normal


def test_cross_attention_is_softmax_attention():
    attention = CrossAttention(8, 2, 4)
    q, k, v = normal(0, (3, 5, 8)), normal(1, (3, 7, 8)), normal(2, (3, 7, 8))
    heads = []
    for head in (slice(0, 2), slice(2, 4)):
        qh, kh, vh = (
            layer(x)[..., head] for layer, x in ((attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v))
        )
        heads.append((qh @ kh.mT / 2**0.5).softmax(-1) @ vh)
    torch.testing.assert_close(attention(q, k, v), attention.out_proj(torch.cat(heads, -1)))


def test_first_block_has_no_residual_around_self_attention():
    """With a zero output projection the first block forgets its tokens, a later one keeps them."""
    tokens, image = normal(0, (1, 3, 48)), normal(1, (1, 5, 48))
    for first in (True, False):
        block = TwoWayBlock(48, 2, 32, first=first)
        torch.nn.init.zeros_(block.self_attn.out_proj.weight)
        torch.nn.init.zeros_(block.self_attn.out_proj.bias)
        outputs = [block(scale * tokens, image, torch.zeros_like(tokens), image)[0] for scale in (1, -1)]
        assert torch.equal(*outputs) == first
