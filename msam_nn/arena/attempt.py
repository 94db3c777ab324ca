"""One attempt at a job, on the machine that does it: its log, its exit status, its CPU time and memory."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from msam_nn.errors import UserError
from msam_nn.folders import new_file

if TYPE_CHECKING:
    from msam_nn.arena.jobs import Job

NOT_STARTED = 127

PARENT_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def attempt(job: Job, folder: Path, environment: dict[str, str]) -> int:
    """Run the job's command and return its exit status.

    ``folder`` gets ``log.txt`` (appended), ``running.json`` while it runs, and ``attempts.jsonl``, a line an attempt:
    begin and end, exit status, seconds by the clock, seconds of CPU time of the command and all its processes, and the
    largest memory of one process in GiB.

    Arguments:
        environment: variables beyond this process's.

    Returns:
        The exit status; 127, as a shell's, where the command could not be started, and the log says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, **environment, **job.environment}
    clock = time.monotonic()
    mark = {"host": socket.gethostname(), "began": datetime.now().isoformat(timespec="seconds")}
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"\n$ {job.shell_line()}\n")
        log.flush()
        try:
            command = job.command_now()
            job.prepare()
            process = subprocess.Popen(
                [_program(command[0]), *command[1:]],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except (OSError, UserError) as error:
            log.write(f"{error}\n")
            nothing = {"cpu_seconds": 0.0, "peak_gib": 0.0}
            _note(folder, mark, job.command, NOT_STARTED, time.monotonic() - clock, nothing)
            return NOT_STARTED
        mark["pid"] = process.pid
        with new_file(folder / "running.json") as partial:
            partial.write_text(json.dumps(mark), encoding="utf-8")
        try:
            usage = _wait(process)
        except BaseException:
            process.send_signal(signal.SIGINT)
            usage = _wait(process)
            raise
        finally:
            if process.returncode is not None:
                _note(folder, mark, command, process.returncode, time.monotonic() - clock, usage)
                (folder / "running.json").unlink(missing_ok=True)
    return process.returncode


def _program(name: str) -> str:
    """The console script of this environment, though that may not be on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name) or name


def _end_with_parent() -> None:
    """Let the command be interrupted, on Linux also when the process that waits for it is killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGINT)


def _wait(process: subprocess.Popen) -> dict[str, float]:
    """CPU seconds and memory of the process and of all its processes that have ended."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kibibytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gib": kibibytes / 2**20}


def _note(folder: Path, mark: dict, command: tuple, status: int, seconds: float, usage: dict[str, float]) -> None:
    entry = {**mark, "command": list(command), "status": status, "seconds": seconds, **usage}
    entry = {name: round(value, 3) if isinstance(value, float) else value for name, value in entry.items()}
    file = folder / "attempts.jsonl"
    is_torn = file.is_file() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as record:
        record.write("\n" * is_torn + json.dumps(entry) + "\n")


def attempts(folder: Path) -> list[dict]:
    """What ``attempts.jsonl`` holds, the oldest first, without lines that a full disk or a kill left torn."""
    file, entries = folder / "attempts.jsonl", []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        with suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def running(folder: Path) -> dict | None:
    """The mark of an attempt that runs now; of one on another machine only its mark can tell, which a kill leaves."""
    try:
        mark = json.loads((folder / "running.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    here = mark["host"] == socket.gethostname()
    return mark if not here or psutil.pid_exists(mark["pid"]) else None


def last_lines(folder: Path, n: int = 8) -> list[str]:
    """Of the log, those that say something."""
    file = folder / "log.txt"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-n:]
