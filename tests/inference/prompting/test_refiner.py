import pytest
import torch

from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.refiner import FeatureCache, WindowRefiner
from msam_nn.networks import MSAM, MSAMConfig

from ..fake_network import CorrectingNetwork

CONFIG = MSAMConfig(1, 2, (16, 16, 16), (8, 8, 8), embed_dim=48, depth=1, num_heads=3, decoder_dim=48,
                    decoder_heads=2, decoder_mlp_dim=48, adapter_heads=3)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MSAM(CONFIG).eval()


def image(*shape):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


CLICK = Click(1, (3, 5, 20), True)
EARLIER = [Click(1, (8, 9, 25), False)]
MASK = torch.linspace(-3, 3, 16**3).reshape(16, 16, 16)


def test_mirrored_windows_make_the_result_mirror_symmetric(network):
    x = image(16, 16, 32)
    straight = WindowRefiner([network], x, CPU, (0, 1, 2)).refine((0, 0, 16), 1, MASK, CLICK, EARLIER)
    click, earlier = (Click(1, (c.voxel[0], c.voxel[1], 31 - c.voxel[2]), c.positive) for c in (CLICK, *EARLIER))
    flipped = WindowRefiner([network], x.flip(3), CPU, (0, 1, 2)).refine((0, 0, 0), 1, MASK.flip(2), click, [earlier])
    assert torch.allclose(flipped.flip(2), straight, atol=1e-5)
    alone = WindowRefiner([network], x, CPU).refine((0, 0, 16), 1, MASK, CLICK, EARLIER)
    assert not torch.allclose(alone, straight, atol=1e-5)


def test_each_window_fold_and_flip_is_encoded_once(network, monkeypatch):
    encoded = []
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda x: encoded.append(x) or encode(x))
    windows = WindowRefiner([network, network], image(16, 16, 32), CPU, (2,))
    for _ in range(2):
        windows.refine((0, 0, 16), 1, MASK, CLICK)
    assert len(encoded) == 2 * 2 and windows.known == {(0, 0, 16)}


def test_the_cache_forgets_what_was_not_used_for_longest(network):
    cache = FeatureCache()
    windows = WindowRefiner([network], image(16, 16, 64), CPU, cache=cache)
    windows.refine((0, 0, 0), 0, MASK, None)
    cache.max_bytes = 2 * cache.bytes
    for x in (16, 0, 32):
        windows.refine((0, 0, x), 0, MASK, None)
    assert windows.known == {(0, 0, 0), (0, 0, 32)}
    assert cache.bytes == cache.max_bytes


def test_images_share_a_cache_and_forget_their_own_features_only(network):
    cache = FeatureCache()
    first, second = (WindowRefiner([network], image(16, 16, 32), CPU, cache=cache) for _ in range(2))
    first.refine((0, 0, 0), 0, MASK, None)
    second.refine((0, 0, 16), 0, MASK, None)
    assert first.known == {(0, 0, 0)} and second.known == {(0, 0, 16)}
    first.forget()
    assert first.known == set() and second.known == {(0, 0, 16)}
    second.forget()
    assert cache.bytes == 0


def test_earlier_clicks_reach_the_network(network):
    windows = WindowRefiner([network], image(16, 16, 32), CPU)
    arguments = ((0, 0, 16), 1, MASK, CLICK)
    assert not torch.equal(windows.refine(*arguments), windows.refine(*arguments, EARLIER))


def test_automatic_masks_of_a_window_and_where_they_win():
    network = CorrectingNetwork(2)
    x = torch.zeros(1, 16, 16, 24)
    x[0, 2:4, :, 20:], x[0, 6:8, :, 20:] = 1, 2
    refiner = WindowRefiner([network, network], x, CPU, (0, 2))
    logits, wins = refiner.automatic((0, 0, 8), 1)
    assert torch.equal(logits, torch.where(x[0, :, :, 8:] == 2, 4.0, -4.0)) and torch.equal(wins, logits > 0)
