import torch

from msam_nn.networks.mask_decoder import CrossAttention, TwoWayBlock

from .golden import normal, tiny_config, tiny_model


def decoder_arguments(n=2):
    return normal(0, (n, 48, 2, 3, 4)), normal(1, (2, 3, 4, 48)), normal(2, (n, 3, 48)), normal(3, (n, 48))


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
        block = TwoWayBlock(tiny_config(), first=first)
        torch.nn.init.zeros_(block.self_attn.out_proj.weight)
        torch.nn.init.zeros_(block.self_attn.out_proj.bias)
        outputs = [block(scale * tokens, image, torch.zeros_like(tokens), image)[0] for scale in (1, -1)]
        assert torch.equal(*outputs) == first


def test_single_and_multimask():
    decoder = tiny_model().mask_decoder
    masks, iou = decoder(*decoder_arguments())
    assert masks.shape == (2, 1, 8, 12, 16) and iou.shape == (2, 1)
    three, three_iou = decoder(*decoder_arguments(), multimask=True)
    assert three.shape == (2, 3, 8, 12, 16) and three_iou.shape == (2, 3)
    with torch.no_grad():
        decoder.output_hypernetworks_mlps[0].layers[-1].bias.add_(1)
    assert not torch.equal(decoder(*decoder_arguments())[0], masks)
    assert torch.equal(decoder(*decoder_arguments(), multimask=True)[0], three)


def test_passes_are_independent():
    decoder = tiny_model().mask_decoder
    image, position, sparse, classes = decoder_arguments()
    masks, iou = decoder(image, position, sparse, classes)
    for i in range(2):
        one = slice(i, i + 1)
        mask, score = decoder(image[one], position, sparse[one], classes[one])
        torch.testing.assert_close(mask, masks[one], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(score, iou[one], rtol=1e-4, atol=1e-4)


def test_class_embedding_reaches_the_mask_not_padding():
    decoder = tiny_model().mask_decoder
    image, position, sparse, classes = decoder_arguments()
    changed = decoder(image, position, sparse, classes + 1)[0]
    assert not torch.allclose(changed, decoder(image, position, sparse, classes)[0])
