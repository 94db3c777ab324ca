"""SAM's attention in 2D and a whole MaskSAM of ViT-B, against padded windows with explicit attention matrices; and
the share of the assignment in a training step.

    python benchmarks/masksam.py attention patch --rounds 3
    python benchmarks/masksam.py assignment --rounds 3

Every figure of the first line comes from a process of its own, which runs one form once to warm up and then
``--rounds`` times. Time is the least CPU time of the rounds, on one thread; memory is the peak of the process above
that before the first run. Both forms have the same weights. The padded form is the tests' oracle.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from peak_memory import peak_gib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from msam_nn.networks.layers.attention import GridAttention  # noqa: E402
from msam_nn.networks.masksam import MaskSAM, MaskSAMConfig  # noqa: E402
from msam_nn.trainers.masksam.matching import assign  # noqa: E402
from msam_nn.trainers.masksam.targets import set_targets  # noqa: E402
from msam_nn.trainers.masksam.trainer import MaskSAMTrainer  # noqa: E402
from tests.networks.oracle import attending_by  # noqa: E402
from tests.networks.sam_oracle import attention_of  # noqa: E402

FORMS = ("padded", "ours")

PATCHES = {
    "grid 16, 4 slices, 8 queries": dict(patch_size=(4, 256, 256), n_queries=8),
    "grid 64, 1 slice, 8 queries": dict(patch_size=(1, 256, 256), n_queries=8, upsampling=4),
}


def attention_case(name: str) -> Callable[[], None]:
    """One layer of ViT-B on one slice: ``"window of 14, grid 64, forward"``."""
    kind, grid, direction = name.split(", ")
    torch.manual_seed(0)
    window = (14, 14) if kind == "window of 14" else None
    layer = GridAttention(dim=768, num_heads=12, window=window, table_size=(64, 64))
    for table in (layer.rel_pos_h, layer.rel_pos_w):
        torch.nn.init.normal_(table, std=0.2)
    edge = int(grid.split()[1])
    x = torch.randn(1, edge, edge, 768, requires_grad=True)

    def run() -> None:
        with torch.set_grad_enabled(direction != "forward"):
            out = layer(x)
            if direction != "forward":
                out.sum().backward()

    return run


def patch_case(name: str) -> Callable[[], None]:
    torch.manual_seed(0)
    config = MaskSAMConfig.of_trunk("vit_b", in_channels=1, num_classes=4, **PATCHES[name])
    network = MaskSAM(config).eval()
    image = torch.randn(1, 1, *config.patch_size)

    def run() -> None:
        with torch.inference_mode():
            network(image)

    return run


def assignment_share(rounds: int) -> tuple[float, float]:
    """CPU seconds of the assignment (costs, copy to the host, Hungarian algorithm), and of the training step around it:
    tiny trunk, batch 2, the trainer's matching, on random images and targets. Medians."""
    torch.manual_seed(0)
    config = MaskSAMConfig.of_trunk(
        "tiny", in_channels=1, num_classes=3, token_size=8, n_queries=8, patch_size=(16, 56, 40)
    )
    network, loss = MaskSAM(config).train(), MaskSAMTrainer.set_loss
    optimizer = torch.optim.AdamW(network.parameters())
    assigned, stepped = [], []
    for _ in range(rounds + 1):
        image = torch.randn(2, 1, *config.patch_size)
        labels = torch.randint(0, 3, (2, 1, *config.patch_size))
        targets = set_targets(labels, num_outputs=3, has_regions=False, ignore_label=None)
        begin = time.process_time()
        prediction = network(image)
        optimizer.zero_grad()
        loss(prediction, targets).backward()
        optimizer.step()
        stepped.append(time.process_time() - begin)
        begin = time.process_time()
        assign(loss.costs(prediction, targets), volumetric=loss.volumetric)
        assigned.append(time.process_time() - begin)
    return statistics.median(assigned[1:]), statistics.median(stepped[1:])


def attention_names() -> Iterator[str]:
    for grid in (64, 32, 16):
        for kind in ("window of 14", "global"):
            for direction in ("forward", "forward and backward"):
                yield f"{kind}, grid {grid}, {direction}"


def measure(name: str, form: str, rounds: int) -> dict[str, float]:
    run = (patch_case if name in PATCHES else attention_case)(name)
    before, times = peak_gib(), []
    with attending_by(attention_of) if form == "padded" else nullcontext():
        for _ in range(rounds + 1):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
    return {"seconds": min(times[1:]), "gib": peak_gib() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["attention", "patch"], choices=["attention", "patch", "assignment"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if "assignment" in arguments.what:
        part, step = assignment_share(arguments.rounds)
        print(f"assignment {part:.3f} s of a training step of {step:.2f} s: {part / step:.1%}")
    names = [*(attention_names() if "attention" in arguments.what else ())]
    names += PATCHES if "patch" in arguments.what else ()
    if not names:
        return
    print("| what | padded | ours | time | padded | ours | memory |\n|---|---|---|---|---|---|---|")
    for name in names:
        results = []
        for form in FORMS:
            with multiprocessing.get_context("fork").Pool(1) as pool:
                results.append(pool.apply(measure, (name, form, arguments.rounds)))
        (a, b), (m, n) = (tuple(r[key] for r in results) for key in ("seconds", "gib"))
        cells = (name, f"{a:.2f} s", f"{b:.2f} s", f"1/{a / b:.2f}", f"{m:.2f} GiB", f"{n:.2f} GiB", f"1/{m / n:.2f}")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
