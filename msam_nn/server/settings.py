"""How a server was started."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from msam_nn.errors import UserError
from msam_nn.server.model import ServedModel


@dataclass(frozen=True)
class Settings:
    """What ``msam serve`` was told.

    class_index: what viewers segment, which know one object at a time.
    automatic: sessions start from the automatic prediction.
    api_key: asked from every client; needed on a host that others reach.
    max_upload_bytes: of a request's body, and of the array in it.
    save_to: the folder for masks and prompts; None writes nothing.
    idle_timeout, liveness_timeout: seconds after the last action, and after the last sign of life, of a client; from a
        page in a hidden tab, whose timers browsers slow down, signs of life come once a minute.

    Raises:
        UserError: for a host that others reach, without a key.
    """

    model: ServedModel
    class_index: int = 0
    automatic: bool = False
    host: str = "127.0.0.1"
    port: int = 1527
    api_key: str | None = None
    max_sessions: int = 3
    max_upload_bytes: int = 2 << 30
    save_to: Path | None = None
    idle_timeout: float = 600.0
    liveness_timeout: float = 180.0

    def __post_init__(self) -> None:
        insist_on_key(self.host, self.api_key)

    @property
    def model_name(self) -> str:
        return self.model.name

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the host."""
        return is_local(self.host)


def insist_on_key(host: str, api_key: str | None) -> None:
    """Raises UserError for a host that others reach, without a key."""
    if not is_local(host) and not api_key:
        raise UserError(
            f"Others reach the host {host}, so a key is needed: add --api-key KEY, or keep to 127.0.0.1 and use an SSH "
            f"tunnel."
        )


def is_local(host: str) -> bool:
    """Whether a name or address means this machine and no other."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
