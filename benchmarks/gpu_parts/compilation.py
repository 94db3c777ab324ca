"""``torch.compile`` of the encoder and of a stage: graph breaks, difference from eager, and what it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from standard_networks import A, B, promptable
from torch import Tensor

from gpu_parts.setup import Setup
from msam_nn.networks import Points


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """A row per network and piece, in float32, so that the difference is the compiler's."""
    setup.without_tf32()
    for name in (A, B):
        network = promptable(name, setup.patch).to(setup.device).eval()
        image = torch.randn(1, 1, *network.patch_size, device=setup.device)
        click = Points(
            torch.full((1, 1, 1, 3), setup.patch // 3, device=setup.device),
            torch.ones(1, 1, 1, dtype=torch.long, device=setup.device),
        )
        with torch.inference_mode():
            features = network.encode(image)
            state = network.refine(features, click, network.refine(features, None, None))

            def stage(refine: Callable, features=features, click=click, state=state, network=network) -> Tensor:
                return network.masks(refine(features, click, state))

            yield {"network": name, "piece": "encoder", **compare(setup, network.encode, lambda f, i=image: f(i))}
            yield {"network": name, "piece": "stage", **compare(setup, network.refine, stage)}


def compare(setup: Setup, function: Callable, ask: Callable[[Callable], Any]) -> dict[str, Any]:
    """``ask`` calls the function, once eager, once compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(function, backend="aot_eager" if setup.dry_run else "inductor")
    began = time.perf_counter()
    with_compiler = list(tensors(ask(compiled)))
    setup.synchronize()
    took, counters = time.perf_counter() - began, torch._dynamo.utils.counters
    plain = list(tensors(ask(function)))
    difference = max(float((a - b).norm() / b.norm()) for a, b in zip(with_compiler, plain, strict=True) if b.any())
    eager, fast = (setup.median_seconds(lambda f=f: ask(f)) for f in (function, compiled))
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "graph breaks": sum(counters["graph_break"].values()),
        "relative difference": f"{difference:.1e}",
        "compiling / s": round(took, 1),
        "eager / ms": round(1000 * eager, 2),
        "compiled / ms": round(1000 * fast, 2),
    }


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of nested tuples."""
    if isinstance(value, Tensor):
        yield value
    elif value is not None:
        for part in value:
            yield from tensors(part)
