"""Everything that only a GPU can tell, unattended, by one command: one JSON file and one Markdown page.

    python benchmarks/gpu.py --minutes 8 --data nnUNet_raw/Dataset501_STS_PETCT -o OUT
    python benchmarks/gpu.py --dry-run -o OUT          # all parts small, on the CPU

Parts run one after the other, each in a process of its own with a time limit: one that fails or hangs costs itself, and
keeps the rows that it had. Time left over goes to the parts after it; the trainings, last and longest, share theirs
equally. ``--data`` is a raw data set of nnU-Net's, or one that is planned and preprocessed already (``nnUNetPlans`` and
``MSAMPlans``); without it the trainings are left out.

Beyond PyTorch and NumPy, reference values and compilation need this package and dynamic-network-architectures, both
pure Python, and speed also SciPy and connected-components-3d, whose wheels are compiled. Latency and trainings need
nnU-Net with what it installs, of which NumPy, SciPy, pandas, matplotlib, SimpleITK, blosc2, scikit-image, scikit-learn,
connected-components-3d and psutil are compiled. A part whose packages are missing says which.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

import torch
from gpu_parts.page import machine, write_page
from gpu_parts.runner import Runner, run_part
from gpu_parts.setup import Setup

MARGIN = 10.0
"""Seconds kept for starting and for writing the page."""

SHORTEST = 5.0
"""Minutes in which every part of a dry run ends on two quiet CPU cores; in less, parts end before their first row."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8, help="for all parts together, from 5 on (default: 8)")
    parser.add_argument("--data", type=Path, help="raw or planned data set to train on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for page, JSON, logs and data")
    parser.add_argument("--dry-run", action="store_true", help="all parts small, on the CPU")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--variant", default="", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """The exit code: 0 if every part ended well or was left out, 1 otherwise, 2 for wrong input."""
    arguments = parse_arguments()
    output, data = arguments.output.resolve(), arguments.data and arguments.data.resolve()
    device = torch.device("cpu" if arguments.dry_run else "cuda")
    if arguments.part:
        setup = Setup(device, arguments.dry_run, arguments.seconds, output, data, arguments.variant)
        run_part(arguments.part, setup, arguments.rows)
        return 0
    if not arguments.dry_run and not torch.cuda.is_available():
        print("error: PyTorch sees no CUDA device here: install its CUDA build, or try --dry-run.", file=sys.stderr)
        return 2
    if arguments.minutes < SHORTEST:
        why = f"--minutes {arguments.minutes:g} would stop parts before they have measured anything"
        print(f"error: {why}: give {SHORTEST:g} or more.", file=sys.stderr)
        return 2
    if data is not None and not (data / "dataset.json").is_file():
        print(f"error: {data} is no data set of nnU-Net's: it has no dataset.json.", file=sys.stderr)
        return 2
    output.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", *sys.argv])
    report = {"machine": machine(device), "command": command, "dry run": arguments.dry_run, "parts": []}
    runner = Runner(
        [sys.executable, __file__, "-o", str(output)]
        + (["--data", str(data)] if data else [])
        + (["--dry-run"] if arguments.dry_run else []),
        seconds=60 * arguments.minutes - MARGIN,
        has_data=data is not None or arguments.dry_run,
        folder=output,
    )
    for result in runner.results():
        report["parts"].append(result)
        (output / "gpu.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
        write_page(output / "gpu.md", report)
        what = f"{result['part']} {result['variant']}".strip()
        why = f" ({result['why']})" if result["why"] else ""
        print(f"{what:<28} {result['seconds']:4.0f} s  {result['status']}{why}", flush=True)
    print(f"page  {output / 'gpu.md'}")
    return int(any(result["status"] in ("failed", "stopped") for result in report["parts"]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
