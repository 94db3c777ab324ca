"""Training step and prediction of a window beside nnU-Net's network: time, memory, and share of the matrix peak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from standard_networks import NNUNET, A, B, msam, msam_unet, unet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts.setup import Setup
from msam_nn.networks import PromptableNetwork
from msam_nn.prompts.sources import SimulatedClicks

BATCH, CLICK_STAGES = 2, 3


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """The device's peak, then a row per network and task; bfloat16 autocast, batch 2 to train, 1 to predict."""
    peak = matrix_peak(setup)
    yield {"network": "(matrix product)", "what": "peak in bfloat16", "TFLOP/s": round(peak, 2)}
    builders = {
        NNUNET: lambda: unet(setup.patch, deep_supervision=True),
        A: lambda: msam(setup.patch),
        B: lambda: msam_unet(setup.patch, deep_supervision=True),
    }
    for name, build in builders.items():
        for what, task in (("training step", training_step), ("prediction of a window", prediction)):
            torch.manual_seed(0)
            yield {"network": name, "what": what, **measure(setup, task(setup, build().to(setup.device)), peak)}


def matrix_peak(setup: Setup) -> float:
    """TFLOP/s of the fastest square matrix product."""
    best = 0.0
    for n in (512,) if setup.dry_run else (4096, 8192, 16384):
        a = torch.randn(n, n, device=setup.device, dtype=torch.bfloat16)
        best = max(best, 2 * n**3 / setup.median_seconds(lambda a=a: a @ a) / 1e12)
    return best


def training_step(setup: Setup, network: nn.Module) -> Callable[[], None]:
    """Forward, cross-entropy of all outputs, backward, optimizer; three clicks on their own errors if promptable."""
    image = torch.randn(BATCH, 1, *(setup.patch,) * 3, device=setup.device)
    target = (image[:, 0] > 1).long()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with setup.autocast():
            if isinstance(network, PromptableNetwork):
                clicks = SimulatedClicks(target[:, None] > 0, first_click=network.n_auto_stages)
                outputs = flat(network(image, clicks, network.n_auto_stages + CLICK_STAGES))
            else:
                outputs = flat(network(image))
            loss = sum(cross_entropy(logits, target) for logits in outputs)
        loss.backward()
        optimizer.step()

    return step


def prediction(setup: Setup, network: nn.Module) -> Callable[[], None]:
    """One window without clicks, as the sliding window asks for it (mirroring asks eight times)."""
    image = torch.randn(1, 1, *(setup.patch,) * 3, device=setup.device)
    network.eval()
    unet = getattr(network, "unet", network)
    if hasattr(unet, "decoder"):
        unet.decoder.deep_supervision = False

    def predict() -> None:
        with torch.inference_mode(), setup.autocast():
            network(image)

    return predict


def flat(outputs: Tensor | list | tuple) -> list[Tensor]:
    """All logits of nested lists."""
    return [outputs] if isinstance(outputs, Tensor) else [logits for part in outputs for logits in flat(part)]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """At the resolution of the logits."""
    if logits.shape[2:] != target.shape[1:]:
        target = F.interpolate(target[:, None].float(), logits.shape[2:])[:, 0].long()
    return F.cross_entropy(logits, target)


def measure(setup: Setup, function: Callable[[], None], peak: float) -> dict[str, Any]:
    """Time, memory that PyTorch allocated at most, and arithmetic by PyTorch's own count."""
    with FlopCounterMode(display=False) as counter:
        function()
    if setup.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = setup.median_seconds(function)
    memory = torch.cuda.max_memory_allocated() / 2**30 if setup.device.type == "cuda" else None
    rate = counter.get_total_flops() / seconds / 1e12
    return {
        "ms": round(1000 * seconds, 2),
        "memory / GiB": None if memory is None else round(memory, 2),
        "TFLOP": round(counter.get_total_flops() / 1e12, 3),
        "TFLOP/s": round(rate, 2),
        "of the peak": f"{rate / peak:.1%}",
    }
