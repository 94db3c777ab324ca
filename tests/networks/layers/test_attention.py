"""Collapsed padding against really padded windows: forward and every gradient."""

import copy

import pytest
import torch

from msam_nn.networks.layers.attention import GridAttention, window_groups

from ..oracle import broadcast_scores, explicit_scores, padded_attention, padded_windows

DIM, HEADS = 8, 2

# (form, grid, window); None is global attention
CASES = [
    ("decomposed", (2, 2, 2), None),
    ("decomposed", (8, 8, 8), None),
    ("decomposed", (2, 5, 8), None),
    ("decomposed", (2, 2, 2), 3),
    ("decomposed", (3, 3, 3), 3),
    ("decomposed", (5, 5, 5), 3),
    ("decomposed", (2, 7, 4), 3),
    ("decomposed", (6, 4, 2), 4),
    ("decomposed", (8, 8, 8), 5),
    ("decomposed", (3, 8, 5), 8),
    ("sammed3d", (2, 2, 2), None),
    ("sammed3d", (5, 5, 5), None),
    ("sammed3d", (8, 8, 8), None),
    ("sammed3d", (2, 2, 2), 3),
    ("sammed3d", (3, 3, 3), 3),
    ("sammed3d", (4, 4, 4), 3),
    ("sammed3d", (7, 7, 7), 4),
    ("sammed3d", (8, 8, 8), 5),
    ("sammed3d", (6, 6, 6), 8),
    ("sammed3d", (2, 7, 4), 3),
    ("sammed3d", (3, 5, 2), 8),
]
IDS = [f"{form}-{'x'.join(map(str, grid))}-{window or 'global'}" for form, grid, window in CASES]


def random_attention(
    form: str, grid: tuple, window: int | None, *, dim: int = DIM, lora_rank: int = 0
) -> GridAttention:
    """Every parameter large enough to matter, the bias included: padded keys and values are made of it."""
    torch.manual_seed(sum(grid) + (window or 0))
    module = GridAttention(
        dim=dim,
        num_heads=HEADS,
        window=(window,) * 3 if window else grid,
        relative_position=form,
        lora_rank=lora_rank,
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def outputs_and_gradients(module: GridAttention, x: torch.Tensor, attend) -> dict[str, torch.Tensor]:
    """Output, and the gradients of a fixed random projection of it to the input and to every parameter."""
    x = x.clone().requires_grad_()
    out = attend(module, x)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).to(out)
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad((out.float() * weight.float()).sum(), (x, *parameters))
    return {"output": out.detach(), **dict(zip(("input", *names), gradients, strict=True))}


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def compare(module: GridAttention, x: torch.Tensor, tolerance: float, scores=explicit_scores) -> None:
    fast = outputs_and_gradients(module, x, lambda m, y: m(y))
    slow = outputs_and_gradients(module, x, lambda m, y: padded_attention(m, y, scores))
    errors = {name: relative_error(fast[name], slow[name]) for name in slow}
    assert all(error <= tolerance for error in errors.values()), errors


def random_input(grid: tuple, dim: int = DIM, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, *grid, dim, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("form", "grid", "window"), CASES, ids=IDS)
def test_equals_padded_windows_float32(form, grid, window):
    compare(random_attention(form, grid, window), random_input(grid), 1e-5)


@pytest.mark.parametrize("form", ["decomposed", "sammed3d"])
@pytest.mark.parametrize("grid", [(3, 3, 3), (8, 8, 8)])
def test_equals_padded_windows_of_fourteen(form, grid):
    """As released, with 2232 padded keys on the grid of eight. Explicit indices would need gigabytes here."""
    compare(random_attention(form, grid, 14, dim=4), random_input(grid, dim=4, batch=1), 1e-5, broadcast_scores)


@pytest.mark.parametrize(("form", "grid", "window"), CASES, ids=IDS)
def test_equals_padded_windows_bfloat16(form, grid, window):
    """Against float32 on the same rounded weights; the padded form itself in bfloat16 is off by up to 3e-2."""
    module, x = random_attention(form, grid, window), random_input(grid)
    half = copy.deepcopy(module).bfloat16()
    rounded = copy.deepcopy(half).float()
    truth = outputs_and_gradients(rounded, x.bfloat16().float(), padded_attention)
    fast = outputs_and_gradients(half, x.bfloat16(), lambda m, y: m(y))
    errors = {name: relative_error(fast[name], truth[name]) for name in truth}
    assert all(error <= 3e-2 for error in errors.values()), errors


@pytest.mark.parametrize("form", ["decomposed", "sammed3d"])
def test_lora_equals_padded_windows(form):
    """Padding bypasses the low-rank update: a zero vector has none."""
    compare(random_attention(form, (4, 4, 4), 3, lora_rank=2), random_input((4, 4, 4)), 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("form", "grid", "window"), CASES, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_equals_padded_windows_on_gpu(form, grid, window, dtype, tolerance):
    module = random_attention(form, grid, window, dim=32).cuda()
    x = random_input(grid, dim=32).cuda()
    half = copy.deepcopy(module).to(dtype)
    truth = outputs_and_gradients(copy.deepcopy(half).float(), x.to(dtype).float(), padded_attention)
    fast = outputs_and_gradients(half, x.to(dtype), lambda m, y: m(y))
    errors = {name: relative_error(fast[name], truth[name]) for name in truth}
    assert all(error <= tolerance for error in errors.values()), errors


@pytest.mark.parametrize("form", ["decomposed", "sammed3d"])
def test_the_benchmarks_baseline_equals_explicit_indices(form):
    q = torch.randn(2, 3, 4, 4, 4, 5, generator=torch.Generator().manual_seed(0))
    tables = tuple(torch.randn(7, 5, generator=torch.Generator().manual_seed(i)) for i in range(3))
    torch.testing.assert_close(broadcast_scores(q, tables, form), explicit_scores(q, tables, form))


def test_padding_is_attended_to():
    """With zero weights every key is alike, so a token's output is the mean over all 27 keys of the window."""
    module = GridAttention(dim=6, num_heads=2, window=(3, 3, 3))
    torch.nn.init.zeros_(module.qkv.weight)
    torch.nn.init.zeros_(module.qkv.bias)
    with torch.no_grad():
        module.qkv.weight[12:] = torch.eye(6)
        module.proj.weight.copy_(torch.eye(6))
        module.proj.bias.zero_()
    x = torch.full((1, 2, 2, 2, 6), 27.0)
    torch.testing.assert_close(module(x), torch.full_like(x, 8.0))


def test_padded_windows_swaps_and_restores_the_forward():
    module, x = random_attention("decomposed", (4, 4, 4), 3), random_input((4, 4, 4))
    fast = GridAttention.forward
    with padded_windows():
        assert GridAttention.forward is not fast
        torch.testing.assert_close(module(x), padded_attention(module, x), rtol=1e-4, atol=1e-5)
    assert GridAttention.forward is fast


@pytest.mark.parametrize(
    ("extent", "window", "expected"),
    [
        (8, 14, [(0, 1, 8)]),
        (8, 8, [(0, 1, 8)]),
        (8, 4, [(0, 2, 4)]),
        (8, 3, [(0, 2, 3), (6, 1, 2)]),
        (5, 4, [(0, 1, 4), (4, 1, 1)]),
    ],
)
def test_window_groups(extent, window, expected):
    assert window_groups(extent, window) == expected
