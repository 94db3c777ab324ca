"""The page's routes: its files, and what it asks, on the same sessions and the same worker as the viewers' protocol.

Everything that changes the mask answers with what changed: ``X-Meta`` says in which box and in how many seconds, the
body holds the labels of that box ``(z, y, x)``, uint8, gzipped (the browser unpacks it).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated
from weakref import WeakKeyDictionary

import numpy as np
from fastapi import APIRouter, Body, Header, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from msam_nn.errors import UserError
from msam_nn.server.images import FileImage
from msam_nn.server.page.prompts import Prompt
from msam_nn.server.page.uploads import Upload
from msam_nn.server.status import Status
from msam_nn.server.transport.bodies import read_body
from msam_nn.server.transport.leases import Lease, LeaseGone
from msam_nn.server.worker import Refused

FOLDER = Path(__file__).parent
FILES = {file.name: file for folder in ("static", "vendor") for file in (FOLDER / folder).iterdir()}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Nothing comes from anywhere else. ``data:`` and ``blob:`` are NiiVue's fonts and what the page itself makes."""

COMPRESSION = 1
LeaseToken = Annotated[str | None, Header(alias="X-Lease-Token")]


class Case(BaseModel):
    name: str = Field(min_length=1, max_length=200)


def make_router(registry, worker, settings) -> APIRouter:
    """Routes of the page and of what it asks."""
    router = APIRouter()
    uploads: WeakKeyDictionary = WeakKeyDictionary()
    background: set[asyncio.Task] = set()
    predicted: set[Lease] = set()

    async def start(work: Coroutine) -> None:
        """Begin something slow, before the client's next request can."""
        task = asyncio.create_task(work)
        background.add(task)
        task.add_done_callback(background.discard)
        await asyncio.sleep(0)

    async def change(token: str | None, action: Callable) -> Response:
        """Act on a session on the worker and answer with what changed."""
        with registry.using(token) as lease:
            session = lease.session

            def act():
                start = time.perf_counter()
                done = action(session)
                return done, session.take_changes(), time.perf_counter() - start

            done, changes, seconds = await lease.run(act)
            meta = {
                "box": changes and [[int(end) for end in axis] for axis in changes.box],
                "seconds": seconds,
                "done": done is not False,
                "can_undo": session.can_undo,
                "can_redo": session.can_redo,
            }
            labels = b"" if changes is None else changes.labels.astype(np.uint8).tobytes()
            body = await asyncio.to_thread(gzip.compress, labels, COMPRESSION)
        headers = {"X-Meta": json.dumps(meta), "Content-Encoding": "gzip"}
        return Response(body, media_type="application/octet-stream", headers=headers)

    @router.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(FILES["index.html"], headers=HEADERS)

    @router.get("/page/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in FILES:
            return JSONResponse({"detail": f"The page has no file {name[:80]}."}, status_code=404)
        return FileResponse(FILES[name], headers=HEADERS)

    @router.get("/page/api/info")
    async def info() -> dict:
        return {
            "model": settings.model_name,
            "classes": [
                {"index": c.index, "name": c.name, "label": int(c.label), "members": [int(m) for m in c.members]}
                for c in settings.model.classes
            ],
            "class_index": settings.class_index,
            "channels": settings.model.channel_names,
            "automatic": settings.automatic,
        }

    @router.put("/page/api/image/{channel}")
    async def put_image(channel: int, request: Request, token: LeaseToken = None) -> dict:
        with registry.using(token) as lease:
            if not 0 <= channel < len(settings.model.channel_names):
                raise Refused(f"The model takes {len(settings.model.channel_names)} channel(s), not {channel + 1}.")
            async with lease.uploading:
                content = await read_body(request, settings.max_upload_bytes)
                upload = uploads.setdefault(lease, Upload())
                try:
                    await asyncio.to_thread(upload.add, channel, content, settings.max_upload_bytes)
                except UserError as error:
                    raise Refused(str(error)) from error
        return {}

    @router.post("/page/api/open")
    async def open_case(case: Case, token: LeaseToken = None) -> dict:
        with registry.using(token) as lease:
            upload = uploads.pop(lease, None)
            if upload is None:
                raise Refused("There is nothing to open: send the channels of the image first.")
            try:
                source = await asyncio.to_thread(FileImage, settings.model, upload.files, case.name)
                lease.session.stop()
                await lease.run(lease.session.take, source)
            except BaseException:
                upload.close()
                raise
            await start(prepare(token, upload))
        return {}

    async def prepare(token: str | None, upload: Upload) -> None:
        try:
            with registry.using(token) as lease:
                await lease.prepare()
        except (Refused, LeaseGone):
            pass  # the session's status says it
        finally:
            upload.close()

    @router.get("/page/api/status")
    async def status(token: LeaseToken = None) -> dict:
        """Of the session; an image whose automatic prediction waits for its turn is being predicted, too."""
        with registry.using(token, active=False) as lease:
            now = lease.session.status
            if now.state == "ready" and lease in predicted:
                now = Status("predicting")
            return {"state": now.state, "progress": now.progress, "message": now.message}

    @router.post("/page/api/automatic")
    async def automatic(token: LeaseToken = None) -> dict:
        with registry.using(token) as lease:
            await start(predict(lease))
        return {}

    async def predict(lease: Lease) -> None:
        predicted.add(lease)
        try:
            with registry.using(lease.token):
                await lease.run_long(lease.session.predict_automatically)
        except (Refused, LeaseGone):
            pass  # the session's status says it
        finally:
            predicted.discard(lease)

    @router.post("/page/api/prompt")
    async def prompt(prompt: Annotated[Prompt, Body()], token: LeaseToken = None) -> Response:
        def add(session) -> bool:
            session.set_class(settings.model.classes[prompt.class_index].name)
            return prompt.add_to(session)

        if prompt.class_index >= len(settings.model.classes):
            raise Refused(f"The model has {len(settings.model.classes)} classes, not {prompt.class_index + 1}.")
        return await change(token, add)

    @router.post("/page/api/undo")
    async def undo(token: LeaseToken = None) -> Response:
        return await change(token, lambda session: session.undo())

    @router.post("/page/api/redo")
    async def redo(token: LeaseToken = None) -> Response:
        return await change(token, lambda session: session.redo())

    @router.post("/page/api/reset")
    async def reset(token: LeaseToken = None) -> Response:
        return await change(token, lambda session: session.reset())

    @router.post("/page/api/changes")
    async def changes(token: LeaseToken = None) -> Response:
        """What changed since the last answer, after the automatic prediction for example."""
        return await change(token, lambda session: None)

    @router.get("/page/api/mask.nii.gz")
    async def mask(token: LeaseToken = None) -> Response:
        with registry.using(token) as lease:
            return Response(await lease.run(lease.session.segmentation_nifti), media_type="application/gzip")

    @router.get("/page/api/prompts.json")
    async def prompts(token: LeaseToken = None) -> Response:
        with registry.using(token) as lease:
            return Response(await lease.run(lease.session.prompts_json), media_type="application/json")

    return router
