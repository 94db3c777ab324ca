"""Milliseconds a click, by ``benchmarks/clicks.py``: all that ``PromptedPredictor.add_click`` does in one window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clicks import build, measure
from standard_networks import A, B

from gpu_parts.setup import Setup

TARGET_MS = 50


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """A row per network; ``measure`` drops the first clicks as warm-up."""
    for name in (A, B):
        times = measure(build(name, setup.patch, setup.device), setup.patch, n_clicks=setup.rounds + 4)
        yield {
            "network": name,
            "first click / ms": round(times["first"], 1),
            "each after it / ms": round(times["click"], 1),
            f"target {TARGET_MS} ms": "reached" if times["click"] <= TARGET_MS else "missed",
            "of that the stage / ms": round(times["stage"], 1),
            "logits with all clicks / ms": round(times["logits"], 1),
        }
