"""Speed and memory of the networks against the padded form, in one run, written as a Markdown table.

    python benchmarks/speed.py --output benchmarks/results/cpu.md

Both forms have the same weights and run in turns, so that a busy machine slows both. A time is the median over the
rounds, a ratio the median of the rounds' ratios; beside it stands the ratio of the fastest rounds, since other work on
the machine can only add time. With ``--threads 1`` CPU time is measured instead of wall time, which other processes
hardly touch. The padded form is the tests' oracle: windows really padded, attention
scores, position terms and softmax in whole tensors, as published code computes them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from peak_memory import peak_gib
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from msam_nn.networks import MSAM, MSAMConfig, Points  # noqa: E402
from msam_nn.networks.layers.basic import upsample  # noqa: E402
from msam_nn.prompts.simulation import sample_error_clicks  # noqa: E402
from tests.networks.oracle import argwhere_clicks, padded_windows  # noqa: E402

N_STAGES = 10
MEMORY_CASES = ("padded", "fast", "fast, checkpointed stages")

CLOCKS = {
    (False, False): "wall time",
    (False, True): "CPU time",
    (True, False): "CUDA events",
    (True, True): "CUDA events",
}


class Row(NamedTuple):
    what: str
    reference: str
    ours: str
    result: str
    best: str
    target: str


def interleaved(
    first: Callable, second: Callable, rounds: int, device: torch.device
) -> tuple[float, float, float, float]:
    """Median seconds of both, run in turns after one warm-up each, the median of first / second, and best / best."""
    timings = []
    for _ in range(rounds + 1):
        timings.append((seconds(first, device), seconds(second, device)))
    timings = timings[1:]
    a, b = (statistics.median(column) for column in zip(*timings, strict=True))
    best = min(x for x, _ in timings) / min(y for _, y in timings)
    return a, b, statistics.median(x / y for x, y in timings), best


def seconds(function: Callable, device: torch.device) -> float:
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    function()
    return clock() - begin


def build(device: torch.device, **changes) -> MSAM:
    """The released geometry, with relative position tables as large as trained ones."""
    torch.manual_seed(0)
    model = MSAM(MSAMConfig.sam_med3d(**changes))
    for name, parameter in model.named_parameters():
        if "rel_pos" in name:
            nn.init.normal_(parameter, std=0.2)
    return model.to(device)


def precision(device: torch.device):
    """float32 on the CPU, bfloat16 autocasting on a GPU."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def random_image(batch: int, device: torch.device) -> Tensor:
    return torch.randn(batch, 1, 128, 128, 128, generator=torch.Generator().manual_seed(1)).to(device)


def fixed_clicks(batch: int, device: torch.device) -> Points:
    points = torch.randint(0, 128, (batch, 1, 1, 3), generator=torch.Generator().manual_seed(2))
    return Points(points.to(device), torch.ones(batch, 1, 1, dtype=torch.long, device=device))


def encoder_rows(device: torch.device, rounds: int, compiled: bool) -> list[Row]:
    image = random_image(1, device)
    rows = []
    for lora_rank, what in ((0, "all weights train"), (4, "frozen, LoRA trains")):
        model = build(device, lora_rank=lora_rank)
        encoder = torch.compile(model.image_encoder) if compiled else model.image_encoder

        def forward(encode=encoder):
            with torch.no_grad(), precision(device):
                encode(image)

        def both(encode=encoder, model=model):
            model.zero_grad(set_to_none=True)
            with precision(device):
                loss = encode(image).float().square().mean()
            loss.backward()

        def padded(function, model=model):
            with padded_windows():
                function(model.image_encoder)

        cases = (
            [("encoder forward + backward", both)]
            if lora_rank
            else [
                ("encoder forward", forward),
                ("encoder forward + backward", both),
            ]
        )
        for name, function in cases:
            slow, fast, ratio, best = interleaved(lambda f=function: padded(f), function, rounds, device)
            results = (milliseconds(slow), milliseconds(fast), f"{ratio:.1f}x", f"{best:.1f}x")
            rows.append(Row(f"{name} ({what})", *results, ">= 10x"))
    return rows


def refinement_rows(device: torch.device, rounds: int, compiled: bool) -> list[Row]:
    """Ten stages from the image to one full-resolution mask, and the same with every stage's mask at full size."""
    image, clicks = random_image(1, device), fixed_clicks(1, device)
    model = build(device)
    encoder = torch.compile(model.image_encoder) if compiled else model.image_encoder
    network = torch.compile(model) if compiled else model
    if compiled:
        model.encode, model.decode = torch.compile(model.encode), torch.compile(model.decode)

    def encode() -> None:
        with torch.inference_mode(), precision(device):
            encoder(image)

    def session() -> None:
        with torch.inference_mode(), precision(device):
            features, state = model.encode(image), None
            for _ in range(N_STAGES):
                state = model.refine(features, clicks, state)
            upsample(state.logits, image.shape[2:])

    def loop() -> None:
        with torch.inference_mode(), precision(device):
            network(image, lambda stage, masks: clicks, N_STAGES)

    rows = []
    for what, function in (("final mask at full resolution", session), ("every stage at full resolution", loop)):
        ours, once, ratio, best = interleaved(function, encode, rounds, device)
        results = (f"{milliseconds(once)} (encoder)", milliseconds(ours), f"{ratio:.2f}x", f"{best:.2f}x")
        target = "<= 2.5x the encoder" if function is session else ""
        rows.append(Row(f"ten-stage refinement, {what}", *results, target))
    return rows


def simulation_row(device: torch.device, rounds: int) -> Row:
    """Ball-shaped targets, and errors about as large as in early training."""
    axis = torch.arange(128, device=device) - 64
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    target = torch.stack([squared < radius**2 for radius in (20, 30, 40, 50)])[:, None]
    error = target ^ (torch.rand(target.shape, device=device) < 0.1)
    slow, fast, ratio, best = interleaved(
        lambda: argwhere_clicks(error, target), lambda: sample_error_clicks(error, target), 4 * rounds, device
    )
    results = (milliseconds(slow), milliseconds(fast), f"{ratio:.0f}x", f"{best:.0f}x")
    return Row("click simulation, batch 4 at 128^3", *results, ">= 20x")


def training_step(device: torch.device, batch: int, case: str) -> None:
    """Ten stages, forward and backward, on the paper's trainable part."""
    model = build(device, checkpoint_stages="checkpointed" in case).train()
    image, clicks = random_image(batch, device), fixed_clicks(batch, device)
    target = (image > 0.5).long()[:, 0]
    with padded_windows() if case == "padded" else nullcontext():
        with precision(device):
            stages = model(image, lambda stage, masks: clicks, N_STAGES)
            loss = sum(F.cross_entropy(stage, target) for stage in stages)
            del stages
        loss.backward()


def measure_memory(device: torch.device, batch: int, case: str) -> float:
    """GiB at the peak of one training step in this process: all resident memory, or what CUDA allocated."""
    training_step(device, batch, case)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return peak_gib()


def memory_rows(device: torch.device, batch: int) -> list[Row]:
    peaks = {}
    for case in MEMORY_CASES:
        command = [sys.executable, __file__, "--device", device.type, "--batch", str(batch), "--measure-memory", case]
        peaks[case] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    padded, *ours = (peaks[case] for case in MEMORY_CASES)
    return [
        Row(
            f"training step, ten stages, batch {batch}, peak memory ({case})",
            f"{padded:.2f} GiB",
            f"{peak:.2f} GiB",
            f"1/{padded / peak:.1f}",
            "",
            "<= 1/4" if device.type == "cpu" else "",
        )
        for case, peak in zip(MEMORY_CASES[1:], ours, strict=True)
    ]


def milliseconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.2f} ms"


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, bfloat16"
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, float32"


def table(rows: list[Row], device: torch.device) -> str:
    clock = CLOCKS[device.type == "cuda", torch.get_num_threads() == 1]
    header = (
        f"{date.today()} · {clock} · {machine(device)} · Python {platform.python_version()} · "
        f"PyTorch {torch.__version__}\n\n"
        "Image 128^3, released geometry (ViT-B, windows of 14, broadcast relative position), batch 1 unless named.\n"
    )
    lines = ["| what | reference | ours | result | of the fastest rounds | target |", "|---|---|---|---|---|---|"]
    return "\n".join([header, *lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None, help="of PyTorch; 1 measures CPU time")
    parser.add_argument("--batch", type=int, default=None, help="of the training step: 2 on a CPU, 4 on a GPU")
    parser.add_argument("--rows", nargs="+", default=["encoder", "refinement", "clicks", "memory"])
    parser.add_argument("--output", type=Path, help="write the table to this file")
    parser.add_argument("--measure-memory", choices=MEMORY_CASES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    batch = arguments.batch or (4 if device.type == "cuda" else 2)
    if arguments.measure_memory:
        print(measure_memory(device, batch, arguments.measure_memory))
        return
    rows = []
    for compiled in (False, True) if device.type == "cuda" else (False,):
        suffix = ", compiled" if compiled else ""
        timed = []
        if "encoder" in arguments.rows:
            timed += encoder_rows(device, arguments.rounds, compiled)
        if "refinement" in arguments.rows:
            timed += refinement_rows(device, arguments.rounds, compiled)
        rows += [row._replace(what=row.what + suffix) for row in timed]
    if "clicks" in arguments.rows:
        rows.append(simulation_row(device, arguments.rounds))
    if "memory" in arguments.rows:
        rows += memory_rows(device, batch)
    text = table(rows, device)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
