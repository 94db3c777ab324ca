"""What every request has to pass first: host, origin, key, and a body of limited size that keeps coming."""

from __future__ import annotations

import asyncio
import hmac
import time
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from nnInteractive.inference.remote import _protocol as protocol

from msam_nn.server.settings import Settings, is_local

PUBLIC_PATHS = ("/", "/favicon.ico", protocol.PATH_HEALTHZ)
PUBLIC_FOLDER = "/page/static/"
"""The page itself: it holds nothing but its program, and asks for the key."""

UPLOADS = (
    protocol.PATH_SET_IMAGE,
    protocol.PATH_ADD_SCRIBBLE,
    protocol.PATH_ADD_LASSO,
    protocol.PATH_ADD_INITIAL_SEG,
    "/page/api/image/",
)
"""Paths with bodies up to ``Settings.max_upload_bytes``; all others take :data:`MOST_JSON`."""

MOST_JSON = 32 << 20
CHUNK_SECONDS = 60.0
"""Longest silence in the middle of a body."""

BODY_SECONDS = 900.0
"""Longest time that a whole body may take."""


class TooLarge(Exception):
    """A body beyond the limit."""


class TooSlow(Exception):
    """A body that does not come."""


class Guard:
    """ASGI middleware around the server."""

    def __init__(self, app, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self._key = f"Bearer {settings.api_key}".encode() if settings.api_key else None

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope["path"], headers)
        if refusal is not None:
            status, detail = refusal
            await JSONResponse({"detail": detail}, status_code=status)(scope, receive, send)
            return
        upload = scope["path"].startswith(UPLOADS)
        body = _Body(receive, self.settings.max_upload_bytes if upload else MOST_JSON)
        await self.app(scope, body.receive, send)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self.settings.is_local and not is_local(_name(host)):
            return 400, f"This server is for this machine only, and not for the name {_name(host)[:100]!r}."
        origin = headers.get(b"origin")
        if origin is not None and _netloc(origin.decode("latin-1")) != host:
            return 403, "Pages of other sites may not use this server."
        if self._key is None or path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER):
            return None
        given = headers.get(b"authorization")
        if given is None:
            return 401, "Missing bearer token"
        return None if hmac.compare_digest(given, self._key) else (401, "Invalid bearer token")


class _Body:
    """A body as it comes in, with limits."""

    def __init__(self, receive, max_bytes: int) -> None:
        self._receive = receive
        self._left = max_bytes
        self._complete = False
        self._deadline = time.monotonic() + BODY_SECONDS

    async def receive(self) -> dict:
        if self._complete:
            return await self._receive()
        try:
            left = self._deadline - time.monotonic()
            message = await asyncio.wait_for(self._receive(), min(CHUNK_SECONDS, left))
        except asyncio.TimeoutError as error:
            raise TooSlow from error
        self._left -= len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._left < 0:
            raise TooLarge
        return message


def _name(host: str) -> str:
    """Without the port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
