"""Run a long command with its output in a log file and one moving line on the screen."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from time import monotonic
from typing import TextIO

from tqdm import tqdm

from msam_nn.errors import UserError

LINES_SHOWN_ON_FAILURE = 25
TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+:\s*")
NEWS = re.compile(
    r"Epoch \d+$|train_loss|Pseudo dice|Validation|[Pp]redicting \S+|Preprocessing|[Pp]lanning|Fingerprint"
)


class CommandFailed(Exception):
    """A command ended with an error; the message holds its last lines and the path of its log."""


def find_command(name: str) -> str:
    """Path of a command installed beside the running Python, so that its environment need not be activated.

    Raises:
        UserError: if it is not installed there.
    """
    scripts = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    found = next(filter(None, (which(name, path=folder) for folder in scripts)), None)
    if found is None:
        raise UserError(f"{name} is not in {scripts[0]}: install nnU-Net there, with pip install nnunetv2.")
    return found


def run_logged(
    command: Sequence[str], *, environment: Mapping[str, str], log_file: Path, title: str, expected_seconds: float
) -> None:
    """Run ``command`` to its end and append its output to ``log_file``.

    The progress line moves with the time of ``expected_seconds`` that has passed, and quotes the latest news (epoch,
    loss, case) from the output. The command is stopped if this process is interrupted.

    Raises:
        CommandFailed: if the command's exit code is not 0.
    """
    lines: list[str] = []
    with (
        log_file.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        reader = threading.Thread(target=_copy_lines, args=(process.stdout, log, lines), daemon=True)
        reader.start()
        try:
            _show_progress(process, lines, title, expected_seconds)
        except BaseException:
            process.terminate()
            raise
        reader.join()
    if process.returncode != 0:
        tail = "\n".join(lines[-LINES_SHOWN_ON_FAILURE:])
        raise CommandFailed(
            f"{tail}\n\n{Path(command[0]).name} failed with exit code {process.returncode}; all output: {log_file}"
        )


def _copy_lines(stream: TextIO, log: TextIO, lines: list[str]) -> None:
    for line in stream:
        log.write(line)
        log.flush()
        lines.append(line.rstrip())


def _show_progress(process: subprocess.Popen[str], lines: list[str], title: str, expected_seconds: float) -> None:
    """Move the progress line until the process ends; it stays at 99 % and says so if it takes longer than expected."""
    began, seen, news = monotonic(), 0, ""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    layout = "{desc:<22}{percentage:3.0f}%|{bar:20}| {elapsed}{postfix}"
    with tqdm(total=100, desc=title, bar_format=layout) as bar:
        while True:
            try:
                process.wait(timeout=interval)
            except subprocess.TimeoutExpired:
                new, seen = lines[seen:], len(lines)
                news = next((text for text in map(_news_in, reversed(new)) if text), news)
                passed = (monotonic() - began) / expected_seconds
                bar.n = min(99, int(100 * passed))
                bar.set_postfix_str(news if passed < 1 else f"longer than expected, {news}".removesuffix(", "))
            else:
                if process.returncode == 0:
                    bar.n = 100
                return


def _news_in(line: str) -> str:
    """A line worth quoting, without nnU-Net's time stamp; else an empty string."""
    text = TIMESTAMP.sub("", line).strip()
    return text[:40] if NEWS.search(text) else ""
