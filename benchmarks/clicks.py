"""Time per click in a window that is already encoded, and where it goes.

    python benchmarks/clicks.py --threads 2

Networks as default plans have them, with random weights, one class, one fold, no mirroring; an image of exactly one
window, so that the first click encodes it and all others find it encoded. Medians after warm-up; CPU time with
``--threads 1`` is what other processes on the machine hardly touch.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time

import torch
from standard_networks import A, B, promptable

from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.clicks import Click


def build(name: str, patch: int, device: torch.device) -> PromptedPredictor:
    """A predictor that needs no plans because it starts from an empty mask."""
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = PromptedPredictor(device=device, use_mirroring=False, allow_tqdm=False)
    predictor.network = promptable(name, patch)
    predictor.list_of_parameters = [predictor.network.state_dict()]
    return predictor


def measure(predictor: PromptedPredictor, edge: int, n_clicks: int) -> dict[str, float]:
    """Milliseconds: the first click, the median of those after it, and of parts of them."""
    predictor.set_image(torch.randn(1, edge, edge, edge), automatic=False)
    generator = torch.Generator().manual_seed(1)
    times: dict[str, list[float]] = {"click": [], "cpu": [], "stage": [], "logits": []}
    refiner, stage = predictor.image._refiner, predictor.image._refiner.refine

    def timed_stage(*arguments):
        begin = time.perf_counter()
        result = stage(*arguments)
        times["stage"].append(time.perf_counter() - begin)
        return result

    refiner.refine = timed_stage
    for _ in range(n_clicks):
        voxel = tuple(torch.randint(edge, (3,), generator=generator).tolist())
        begin, cpu = time.perf_counter(), time.process_time()
        predictor.add_click(Click(0, voxel, positive=True))
        times["click"].append(time.perf_counter() - begin)
        times["cpu"].append(time.process_time() - cpu)
        begin = time.perf_counter()
        _ = predictor.logits
        times["logits"].append(time.perf_counter() - begin)
    first = times["click"].pop(0)
    return {"first": 1e3 * first, **{k: 1e3 * statistics.median(v[2:]) for k, v in times.items()}}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"patch {args.patch}^3, {args.threads} threads, {args.device}; ms, median\n")
    print("| network | first click | each after it | CPU time of it | stage | logits with all clicks |")
    print("|---|---|---|---|---|---|")
    for name in (A, B):
        t = measure(build(name, args.patch, torch.device(args.device)), args.patch, args.clicks)
        cells = (t[what] for what in ("first", "click", "cpu", "stage", "logits"))
        print(f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
