"""The adapter against the specification's equations, written out on ``(B, T, d, h, w)``."""

import torch.nn.functional as F

from msam_nn.networks.decoding.adapter import AdapterAttention

from ..golden import normal, relative_error, tiny_model
from ..oracle import explicit_scores, padded_attention


def attention_block(module: AdapterAttention, x):
    y = padded_attention(module, module.norm1(x), explicit_scores)
    return module.mlp(module.norm2(y + x))


def specified_adapter(adapter, image, mask):
    """Section 4, in its order; ``image`` and ``mask`` channels last."""
    block = adapter.enhancement

    def convolution(conv, x):
        return F.conv3d(x.movedim(-1, 1), conv.weight, conv.bias, padding=conv.padding).movedim(1, -1)

    m, i = adapter.add_norm2(mask), adapter.add_norm3(image)
    i1 = convolution(block.image_conv2, F.gelu(block.image_norm(convolution(block.image_conv1, i))))
    i1 = block.image_addnorm1(i1 + i)
    m1 = convolution(block.prompt_conv2, F.gelu(block.prompt_norm(convolution(block.prompt_conv1, m))))
    m1 = block.prompt_addnorm1(m1 + m)
    i2 = block.image_addnorm2(attention_block(block.image_attention, i1 + i + m) + i1)
    i3 = block.image_addnorm3(block.image_mlp(i2) + i2)
    m2 = block.prompt_addnorm2(attention_block(block.prompt_attention, m1 + i + m) + m1)
    m3 = block.prompt_addnorm3(block.prompt_mlp(m2) + m2)
    z = i3 + i + m3 + m
    o = adapter.add_norm(attention_block(adapter.attention, z) + z)
    return o + adapter.mlp(o)


def test_equals_the_specification():
    adapter = tiny_model().mask_enhanced_adapter
    image, mask = normal(0, (2, 2, 3, 4, 48)), normal(1, (2, 2, 3, 4, 48))
    expected = specified_adapter(adapter, image, mask)
    assert relative_error(adapter(adapter.image_half(image), mask), expected.detach()) <= 1e-5


def test_gradients_reach_both_inputs_and_all_parameters_in_use():
    adapter = tiny_model().mask_enhanced_adapter
    inputs = [normal(i, (1, 2, 3, 4, 48)).requires_grad_() for i in range(2)]
    adapter(adapter.image_half(inputs[0]), inputs[1]).square().sum().backward()
    assert all(x.grad.abs().max() > 0 for x in inputs)
    unused = {name for name, p in adapter.named_parameters() if p.grad is None}
    assert unused == {"add_norm4.weight", "add_norm4.bias"}


def test_attention_spans_the_grid_without_padding():
    attention = AdapterAttention(dim=48, num_heads=2, grid_size=(2, 3, 4), relative_position="decomposed")
    assert attention.window == (2, 3, 4)
    assert attention.rel_pos_h.shape == (5, 24)
