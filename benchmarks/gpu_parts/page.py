"""The Markdown page of a run, written again after every part."""

from __future__ import annotations

import os
import platform
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import torch


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    facts = {"device": f"{platform.machine()} CPU", "cores": os.cpu_count()}
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "memory / GiB": round(memory),
            "CUDA": torch.version.cuda,
        }
    versions = {"Python": platform.python_version(), "PyTorch": torch.__version__}
    return {**facts, **versions, "date": date.today().isoformat()}


def write_page(path: Path, report: dict[str, Any]) -> None:
    """Machine, command, and a table per part with what became of it."""
    facts = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    lines = ["# GPU measurements" + (" (dry run: small, on the CPU, no figures to quote)" if report["dry run"] else "")]
    lines += ["", facts, "", "```bash", report["command"], "```"]
    for title, results in groupby(report["parts"], key=lambda result: result["title"]):
        results = list(results)
        lines += ["", f"## {title}", ""]
        for result in results:
            if result["status"] != "done":
                name = result["variant"] or "This part"
                lines += [f"{name}: {result['status']}: {result['why']}.", ""]
        lines += table([row for result in results for row in result["rows"]])
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table; what a row does not have stays empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if not columns:
        return []
    body = [["" if row.get(column) is None else str(row[column]) for column in columns] for row in rows]
    return ["| " + " | ".join(cells) + " |" for cells in [columns, ["---"] * len(columns), *body]]
