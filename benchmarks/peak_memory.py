"""Peak memory of a process."""

from __future__ import annotations

import resource
import sys


def peak_gib() -> float:
    """Most resident memory this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
