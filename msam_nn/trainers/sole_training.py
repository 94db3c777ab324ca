"""One training a folder at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from msam_nn.errors import UserError

NAME = "training_in_progress.json"


@contextmanager
def sole_training(folder: Path) -> Iterator[None]:
    """Mark ``folder`` as being trained in while the block runs.

    A mark that a killed process of this machine left counts for nothing, and neither does one of another machine, whose
    processes cannot be seen from here.

    Raises:
        UserError: if a training is running there on this machine.
    """
    mark, own = folder / NAME, {"host": socket.gethostname(), "pid": os.getpid()}
    try:
        other = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        other = {}
    if other.get("host") == own["host"] and other["pid"] != own["pid"] and psutil.pid_exists(other["pid"]):
        raise UserError(
            f"Process {other['pid']} is training in {folder}: wait for it or stop it, or train another fold (if that "
            f"process is something else, delete {mark})."
        )
    mark.write_text(json.dumps(own), encoding="utf-8")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
