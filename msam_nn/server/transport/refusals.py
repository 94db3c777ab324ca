"""What clients are told when something cannot be done: always ``{"detail": sentence}``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nnInteractive.inference.remote import _protocol as protocol
from starlette.requests import ClientDisconnect

from msam_nn.errors import UserError
from msam_nn.server.settings import Settings
from msam_nn.server.transport.guard import TooLarge, TooSlow
from msam_nn.server.transport.leases import AtCapacity, LeaseGone, TooManyRequests
from msam_nn.server.transport.requests import sentence_of
from msam_nn.server.worker import Refused

RETRY_SECONDS = 10

logger = logging.getLogger("uvicorn.error")

ERRORS = {
    status: {"description": description}
    for status, description in {
        400: "the request cannot be followed",
        401: "no or another API key",
        403: "from another site",
        408: "the body does not come",
        410: "no such lease",
        413: "too large",
        422: "not what belongs there",
        429: "too many at once",
    }.items()
}


def answer_errors(app: FastAPI, settings: Settings) -> None:
    """Every error is ``{"detail": sentence}``; what a user did wrong is also said on the server's terminal, because
    viewers show their users no more than a status."""

    def answer(kind: type[Exception], status: int, sentence: Callable[[Any], str], **headers: str) -> None:
        async def handler(request: Request, error: Exception) -> JSONResponse:
            if isinstance(error, UserError):
                logger.warning("%s: %s", request.url.path, error)
            return JSONResponse({"detail": sentence(error)}, status_code=status, headers=headers)

        app.add_exception_handler(kind, handler)

    async def gone(request: Request, error: Exception) -> JSONResponse:
        given = protocol.LEASE_HEADER in request.headers
        return JSONResponse({"detail": "lease expired or unknown" if given else "lease token missing"}, 410)

    size = f"{settings.max_upload_bytes / 2**30:.3g} GiB"
    app.add_exception_handler(LeaseGone, gone)
    answer(AtCapacity, 503, lambda _: f"server is at capacity ({settings.max_sessions} sessions)", **{"Retry-After": str(RETRY_SECONDS)})  # noqa: E501  # fmt: skip
    answer(TooManyRequests, 429, lambda _: "Too many requests of this lease wait already.")
    answer(Refused, 400, str)
    answer(UserError, 400, str)
    answer(TooLarge, 413, lambda _: f"Images and masks may have up to {size} (--max-upload), other requests less.")
    answer(TooSlow, 408, lambda _: "The body of the request does not come.")
    answer(ClientDisconnect, 400, lambda _: "The client went away.")
    answer(RequestValidationError, 422, lambda error: sentence_of(error.errors()))
