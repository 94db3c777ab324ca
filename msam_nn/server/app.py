"""The server: sessions, the protocol that viewers speak, and the page beside it."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import FastAPI

from msam_nn import __version__
from msam_nn.server.autosave import Autosave
from msam_nn.server.page import routes as page
from msam_nn.server.session import InteractiveSession
from msam_nn.server.settings import Settings
from msam_nn.server.transport import routes as protocol
from msam_nn.server.transport.guard import Guard
from msam_nn.server.transport.leases import LeaseRegistry
from msam_nn.server.transport.refusals import ERRORS, answer_errors
from msam_nn.server.worker import Worker

SWEEP_SECONDS = 15.0


def make_app(settings: Settings) -> FastAPI:
    """The server, which starts its threads with its lifespan."""
    worker = Worker()
    autosave = Autosave(settings.save_to) if settings.save_to else None
    registry = LeaseRegistry(
        lambda: InteractiveSession(settings.model, settings.class_index),
        worker,
        settings.max_sessions,
        settings.idle_timeout,
        settings.liveness_timeout,
        on_change=autosave.soon if autosave else None,
    )
    settings.model.give_way = worker.give_way

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        sweeping = asyncio.create_task(_sweep(registry))
        yield
        sweeping.cancel()
        await registry.close()
        if autosave:
            await autosave.close()
        await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="msam serve", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=ERRORS
    )
    app.state.registry, app.state.worker, app.state.settings = registry, worker, settings
    app.add_middleware(Guard, settings=settings)
    answer_errors(app, settings)
    app.include_router(protocol.make_router(registry, settings))
    app.include_router(page.make_router(registry, worker, settings))
    return app


async def _sweep(registry: LeaseRegistry) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        registry.sweep()
