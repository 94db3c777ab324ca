"""Which parts there are, and each of them in a process of its own with a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from gpu_parts.setup import Setup
from gpu_parts.training import METHODS

NETWORKS = ("dynamic_network_architectures",)
NNUNET = ("nnunetv2", *NETWORKS, "acvl_utils", "batchgenerators", "batchgeneratorsv2", "blosc2", "cc3d", "matplotlib")
NNUNET += ("nibabel", "pandas", "psutil", "scipy", "SimpleITK", "skimage", "sklearn", "surface_distance")


class Part(NamedTuple):
    """
    module: in this folder.
    title: heading on the page.
    weight: share of the time that is left, beside the weights of the parts still to come.
    needs: packages to import.
    variants: what the part is run for, one after the other, each with the same time.
    """

    module: str
    title: str
    weight: float
    needs: Sequence[str]
    needs_data: bool = False
    variants: Sequence[str] = ("",)


PARTS = (
    Part("reference", "Reference values: relative errors", 1.5, NETWORKS),
    Part("compilation", "torch.compile", 4, NETWORKS),
    Part("speed", "Training step and prediction", 1.5, (*NETWORKS, "cc3d", "scipy")),
    Part("latency", "Click latency", 1, NNUNET),
    Part("planning", "Planning and preprocessing", 2, NNUNET, needs_data=True),
    Part("training", "Equal-time training: Dice after clicks", 8, NNUNET, needs_data=True, variants=tuple(METHODS)),
)


def run_part(name: str, setup: Setup, rows_file: Path) -> None:
    """In the part's own process: write every row as soon as it is there."""
    rows = []
    for row in import_module(f"gpu_parts.{name}").run(setup):
        rows.append(row)
        partial = rows_file.with_suffix(".partial")
        partial.write_text(json.dumps(rows), encoding="utf-8")
        partial.replace(rows_file)


@dataclass
class Runner:
    """Runs :data:`PARTS`.

    Arguments:
        command: of this program with the options that all parts share.
        seconds: for all parts together.
        has_data: whether there is something to train on.
        folder: for the rows and the logs of the parts.
    """

    command: Sequence[str]
    seconds: float
    has_data: bool
    folder: Path

    def results(self) -> Iterator[dict[str, Any]]:
        """After each part: ``part``, ``variant``, ``title``, ``status`` (done, failed, stopped, left out), ``why``,
        ``seconds``, ``rows``."""
        end = time.monotonic() + self.seconds
        for index, part in enumerate(PARTS):
            weight = part.weight / sum(later.weight for later in PARTS[index:])
            limit = (end - time.monotonic()) * weight / len(part.variants)
            for variant in part.variants:
                began = time.monotonic()
                outcome = self._attempt(part, variant, limit)
                named = {"part": part.module, "variant": variant, "title": part.title}
                yield {**named, **outcome, "seconds": round(time.monotonic() - began, 1)}

    def _attempt(self, part: Part, variant: str, limit: float) -> dict[str, Any]:
        if part.needs_data and not self.has_data:
            return {"status": "left out", "why": "no --data", "rows": []}
        missing = [package for package in part.needs if find_spec(package) is None]
        if missing:
            return {"status": "left out", "why": f"not installed: {', '.join(missing)}", "rows": []}
        name = f"{part.module}_{variant}" if variant else part.module
        rows_file, log = self.folder / f"{name}.rows.json", self.folder / f"{name}.log"
        rows_file.unlink(missing_ok=True)
        options = ["--part", part.module, "--variant", variant, "--seconds", f"{limit:.0f}", "--rows", str(rows_file)]
        with log.open("w", encoding="utf-8") as file:
            status, why = run_limited([*self.command, *options], limit, file)
        if status == "failed":
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else why
        rows = json.loads(rows_file.read_text(encoding="utf-8")) if rows_file.exists() else []
        return {"status": status, "why": why, "rows": rows}


def run_limited(command: Sequence[str], seconds: float, log: Any) -> tuple[str, str]:
    """Run a command; one that takes too long is killed with the processes that it started.

    Returns:
        ``("done", "")``, ``("failed", exit code)`` or ``("stopped", limit)``.
    """
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        code = process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        return "stopped", f"its limit of {seconds:.0f} s was over"
    finally:
        end_group(process)
    return ("failed", f"exit code {code}") if code else ("done", "")


def end_group(process: subprocess.Popen) -> None:
    """Kill a process and all that are left of its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
