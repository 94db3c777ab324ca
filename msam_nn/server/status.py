"""What a session tells of itself: what it is doing, how long prompts took, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from msam_nn.errors import UserError
from msam_nn.server.worker import MEMORY_ERRORS, NO_MEMORY


@dataclass(frozen=True)
class Status:
    """What a session is doing: ``empty``, ``preparing``, ``predicting``, ``ready`` or ``failed``.

    progress: 0 to 1. message: why it failed, or why the automatic prediction of an image that is ready did.
    """

    state: str = "empty"
    progress: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Timing:
    """How long following a prompt took, in seconds."""

    what: str
    seconds: float


def sentence(error: Exception, what: str) -> str:
    """What a user is told of an error; where nothing better is known, that ``what`` happened, and the reason."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MEMORY_ERRORS):
        return NO_MEMORY
    return f"{what} ({f'{type(error).__name__}: {error}'.strip().splitlines()[0]})."
