import math

import pytest
import torch

from msam_nn.networks.decoding.sam import SAMMaskDecoder, SAMPromptEncoder
from msam_nn.networks.layers.depth_adapter import DepthMLPAdapter, DepthModule

from ..sam_oracle import stock_decoder

GRID = (3, 5)


def random_decoder(n_slices: int) -> SAMMaskDecoder:
    torch.manual_seed(0)
    decoder = SAMMaskDecoder(dim=32, depth=2, num_heads=4, mlp_dim=48, n_slices=n_slices, grid_size=GRID)
    for name, parameter in decoder.named_parameters():
        if "adapter" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return decoder


def random_input(n: int, tokens: int = 2):
    generator = torch.Generator().manual_seed(1)
    shapes = ((n, 32, *GRID), (n, GRID[0] * GRID[1], 32), (n, tokens, 32))
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("n_slices", [0, 3])
def test_adapters_at_zero_leave_stock_sam(n_slices):
    decoder, inputs = random_decoder(n_slices), random_input(6)
    with torch.no_grad():
        masks, _, _ = decoder(*inputs)
        for i in range(6):
            stock = stock_decoder(decoder.state_dict(), *(x[i] for x in inputs), num_heads=4)
            torch.testing.assert_close(masks[i], stock, rtol=1e-5, atol=1e-5)


def test_output_tokens():
    decoder = random_decoder(0)
    masks, mask_token, prompts = decoder(*random_input(2, tokens=3))
    assert masks.shape == (2, 12, 20) and mask_token.shape == (2, 32) and prompts.shape == (2, 3, 32)


def test_kinds_and_number_of_adapters():
    adapters = [m for m in random_decoder(3).modules() if isinstance(m, DepthModule)]
    assert len(adapters) == 9 and sum(isinstance(m, DepthMLPAdapter) for m in adapters) == 7


def test_slices_of_a_query_see_each_other_and_queries_do_not():
    decoder = random_decoder(3)
    for adapter in (m for m in decoder.modules() if isinstance(m, DepthModule)):
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    image, image_pos, sparse = random_input(6)
    other = sparse.clone()
    other[4] += 1
    changed = [(a != b).flatten(1).any(1).tolist() for a, b in zip(
        decoder(image, image_pos, sparse), decoder(image, image_pos, other), strict=True)]  # fmt: skip
    assert changed == [[False] * 3 + [True] * 3] * 3


def test_box_corners():
    encoder = SAMPromptEncoder(8)
    encoder.position.gaussian_matrix.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0, 0]]))
    for i, embedding in enumerate(encoder.point_embeddings):
        torch.nn.init.constant_(embedding.weight, i)
    corners = encoder.boxes(torch.tensor([[0.75, 0.375, 1.55, 1.875]]), size=(4, 10), canvas=(8, 16))
    # x: 0.75 * 10 = 7.5 pixels, (7.5 + 0.5) / 16 = 1/2 is the middle; y: (1.5 + 0.5) / 8 = 1/4, half way to it
    v = 2 * math.pi * torch.tensor([0.0, -0.25, 0, 0])
    torch.testing.assert_close(corners[0, 0], torch.cat([v.sin(), v.cos()]) + 2)
    v = 2 * math.pi * torch.tensor([1.0, 0.5, 0, 0])
    torch.testing.assert_close(corners[0, 1], torch.cat([v.sin(), v.cos()]) + 3)


def test_grid_of_a_corner_is_the_corner_of_the_grid():
    encoder = SAMPromptEncoder(8)
    whole = encoder.grid((4, 6), (8, 8))
    torch.testing.assert_close(encoder.grid((2, 3), (8, 8)), whole[:2, :3])
    torch.testing.assert_close(whole[1, 3], encoder.position(torch.tensor([3.5 / 8, 1.5 / 8])))
    assert encoder.masks(torch.zeros(2, 1, 8, 12)).shape == (2, 8, 2, 3)
