"""nnInteractive's HTTP protocol, version 2, around interactive sessions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from nnInteractive.inference.remote import _protocol as protocol

from msam_nn.inference.prompting.windows import Box, bounding_box, shifted, slices
from msam_nn.server.images import ViewerImage
from msam_nn.server.settings import Settings
from msam_nn.server.transport.bodies import pack, read_body, unpack
from msam_nn.server.transport.capabilities import capabilities
from msam_nn.server.transport.leases import Lease, LeaseGone, LeaseRegistry, TooManyRequests
from msam_nn.server.transport.requests import (
    Autozoom,
    BoxInteraction,
    DrawnInteraction,
    ImageMeta,
    InitialSegmentation,
    PointInteraction,
    Predict,
    TargetBuffer,
    read_meta,
)
from msam_nn.server.viewer import Prediction, Viewer
from msam_nn.server.worker import Refused

ANSWER_SECONDS = 45.0
"""Viewers give up after 60: what takes longer goes on, and its changes come with the next answer."""

Token = Annotated[str | None, Header(alias=protocol.LEASE_HEADER)]
Meta = Annotated[str | None, Header(alias=protocol.META_HEADER)]

ARRAY_BODY = {
    "requestBody": {
        "content": {protocol.CONTENT_TYPE_OCTET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
        "required": True,
    }
}


def make_router(registry: LeaseRegistry, settings: Settings) -> APIRouter:
    """Routes of the protocol."""
    router = APIRouter()
    viewers: WeakKeyDictionary[Lease, Viewer] = WeakKeyDictionary()
    background: set[asyncio.Task] = set()
    limit = settings.max_upload_bytes

    def viewer_of(lease: Lease) -> Viewer:
        return viewers.setdefault(lease, Viewer(lease.session))

    def start(work: Coroutine) -> asyncio.Task:
        task = asyncio.create_task(work)
        background.add(task)
        task.add_done_callback(_forget_quietly(background))
        return task

    async def predict(token: str | None, act: Callable[[Viewer], bool]) -> Response:
        """Act on the worker's thread and answer with what changed; with nothing if that takes too long."""
        late = answered = False

        async def work() -> Prediction:
            with registry.using(token) as lease:
                viewer = viewer_of(lease)

                def follow() -> Prediction:
                    nonlocal answered
                    begun = time.perf_counter()
                    ran = act(viewer)
                    if late:
                        return Prediction(ran)
                    prediction = viewer.answer(ran, begun)
                    answered = True
                    if late and prediction.changes is not None:
                        viewer.session.send_again(prediction.changes)
                    return prediction

                return await lease.run(follow)

        task = start(work())
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        late = not done
        prediction = await task if done or answered else Prediction(False)
        body = b"" if prediction.block is None else await asyncio.to_thread(pack, prediction.block)
        headers = {
            protocol.META_HEADER: prediction.meta,
            "Server-Timing": f"session;dur={1000 * prediction.seconds:.1f}",
        }
        return Response(body, media_type=protocol.CONTENT_TYPE_OCTET_STREAM, headers=headers)

    async def behind(token: str | None, act: Callable[[Viewer], None]) -> None:
        """Act when it is this request's turn; the answer does not wait for it."""

        async def work() -> None:
            with registry.using(token) as lease:
                await lease.run(act, viewer_of(lease))

        registry.find(token)
        start(work())
        await asyncio.sleep(0)  # take a turn before the client's next request can

    async def receive(request: Request, lease: Lease, **expected: Any) -> np.ndarray:
        async with lease.uploading:
            body = await read_body(request, limit)
            return await asyncio.to_thread(unpack, body, max_bytes=limit, **expected)

    @router.get(protocol.PATH_HEALTHZ)
    async def healthz() -> dict:
        return {"ok": True}

    @router.post(protocol.PATH_CLAIM)
    async def claim() -> dict:
        await registry.make_room(ANSWER_SECONDS)
        return {
            "lease_token": registry.claim().token,
            "idle_timeout_seconds": settings.idle_timeout,
            "liveness_timeout_seconds": settings.liveness_timeout,
            "max_sessions": settings.max_sessions,
        }

    @router.get(protocol.PATH_CAPABILITIES)
    async def get_capabilities() -> dict:
        return capabilities(settings)

    @router.post(protocol.PATH_RELEASE)
    async def release(token: Token = None) -> dict:
        registry.release(token)
        return {"released": True}

    @router.post(protocol.PATH_HEARTBEAT)
    async def heartbeat(token: Token = None) -> dict:
        with registry.using(token, active=False) as lease:
            return {"remaining_seconds": registry.remaining_seconds(lease)}

    @router.get(protocol.PATH_LEASE_STATUS)
    async def lease_status(token: Token = None) -> dict:
        remaining = registry.remaining_seconds(registry.find(token))
        return {"remaining_seconds": remaining, "idle_timeout_seconds": settings.idle_timeout}

    @router.post(protocol.PATH_SET_IMAGE, openapi_extra=ARRAY_BODY)
    async def set_image(request: Request, token: Token = None, meta: Meta = None) -> dict:
        """Answers when the image has arrived; it is prepared behind."""
        with registry.using(token) as lease:
            spacing = read_meta(ImageMeta, meta, protocol.META_HEADER).spacing
            image = await receive(request, lease, ndim=4)
            source = await asyncio.to_thread(ViewerImage, settings.model, image, spacing)
            lease.session.stop()
            viewer = viewer_of(lease)
            await lease.run(viewer.open, source)
            start(prepare(token))
            await asyncio.sleep(0)  # take a turn before the client's next request can
            return {"original_image_shape": list(image.shape)}

    async def prepare(token: str | None) -> None:
        with registry.using(token) as lease:
            await lease.prepare(settings.automatic)

    @router.post(protocol.PATH_SET_TARGET_BUFFER)
    async def set_target_buffer(buffer: TargetBuffer, token: Token = None) -> dict:
        lease = registry.find(token)
        if lease.session.status.state != "empty" and buffer.shape != lease.session.shape:
            raise Refused(f"The target buffer has {buffer.shape} voxels, and the image {lease.session.shape}.")
        if min(buffer.shape) < 1:
            raise Refused(f"The target buffer's shape {buffer.shape} is impossible.")
        try:
            dtype = np.dtype(buffer.dtype)
        except (TypeError, ValueError, SyntaxError) as error:
            raise Refused(f"There is no type {buffer.dtype!r} for a target buffer.") from error
        if dtype.kind not in "biu":
            raise Refused(f"A target buffer of {dtype} cannot hold a mask: use uint8.")

        def take(viewer: Viewer) -> None:
            viewer.dtype = dtype
            viewer.session.send_all()

        await behind(token, take)
        return {}

    @router.post(protocol.PATH_SET_DO_AUTOZOOM)
    async def set_do_autozoom(switch: Autozoom, token: Token = None) -> dict:
        with registry.using(token) as lease:
            lease.session.follow_objects = switch.do_autozoom
            return {}

    @router.post(protocol.PATH_RESET_INTERACTIONS)
    async def reset_interactions(token: Token = None) -> dict:
        def reset(viewer: Viewer) -> None:
            if viewer.session.status.state == "ready":
                viewer.session.reset()
            viewer.forget()

        await behind(token, reset)
        return {}

    @router.post(protocol.PATH_UNDO)
    async def undo(token: Token = None) -> Response:
        return await predict(token, lambda viewer: viewer.undo())

    @router.post(protocol.PATH_PREDICT)
    async def predict_now(what: Predict, token: Token = None) -> Response:
        return await predict(token, lambda viewer: viewer.predict(what.force_full_refine))

    @router.post(protocol.PATH_ADD_POINT)
    async def add_point(point: PointInteraction, token: Token = None) -> Response:
        def act(viewer: Viewer) -> bool:
            add = viewer.session.add_point
            return viewer.prompt(lambda: add(point.coordinates, point.include_interaction), point.run_prediction)

        return await predict(token, act)

    @router.post(protocol.PATH_ADD_BBOX)
    async def add_box(box: BoxInteraction, token: Token = None) -> Response:
        def act(viewer: Viewer) -> bool:
            add = viewer.session.add_box
            return viewer.prompt(lambda: add(box.bbox_coords, box.include_interaction), box.run_prediction)

        return await predict(token, act)

    async def add_drawing(request: Request, token: str | None, meta: str | None, lasso: bool) -> Response:
        with registry.using(token) as lease:
            about = read_meta(DrawnInteraction, meta, protocol.META_HEADER)
            drawing = await receive(request, lease, ndim=3)
            box, drawn = await asyncio.to_thread(_tight, drawing, about, lease.session.shape)

            def act(viewer: Viewer) -> bool:
                add = viewer.session.add_lasso if lasso else viewer.session.add_scribble
                return viewer.prompt(lambda: add(box, drawn, about.include_interaction), about.run_prediction)

            return await predict(token, act)

    @router.post(protocol.PATH_ADD_SCRIBBLE, openapi_extra=ARRAY_BODY)
    async def add_scribble(request: Request, token: Token = None, meta: Meta = None) -> Response:
        return await add_drawing(request, token, meta, lasso=False)

    @router.post(protocol.PATH_ADD_LASSO, openapi_extra=ARRAY_BODY)
    async def add_lasso(request: Request, token: Token = None, meta: Meta = None) -> Response:
        return await add_drawing(request, token, meta, lasso=True)

    @router.post(protocol.PATH_ADD_INITIAL_SEG, openapi_extra=ARRAY_BODY)
    async def add_initial_seg(request: Request, token: Token = None, meta: Meta = None) -> Response:
        """The client fills its own buffer, so only what a prediction changes is sent back."""
        with registry.using(token) as lease:
            about = read_meta(InitialSegmentation, meta, protocol.META_HEADER)
            mask = await receive(request, lease, ndim=3, shape=lease.session.shape) != 0

            def act(viewer: Viewer) -> bool:
                viewer.forget()
                viewer.session.set_initial_mask(mask)
                viewer.session.take_changes()
                return about.run_prediction and viewer.session.refine_mask()

            return await predict(token, act)

    return router


def _tight(drawing: np.ndarray, about: DrawnInteraction, shape: tuple[int, ...]) -> tuple[Box, np.ndarray]:
    """What was drawn, without the empty space around it."""
    drawn = drawing != 0
    origin = (0, 0, 0)
    if about.interaction_bbox is not None:
        origin = [round(lower) for lower, _ in about.interaction_bbox]
        shape = tuple(round(upper) - lower for (_, upper), lower in zip(about.interaction_bbox, origin, strict=True))
    if drawn.shape != shape:
        raise Refused(f"The drawing has {drawn.shape} voxels where {shape} were announced.")
    found = bounding_box(drawn) or ((0, 1),) * 3
    return shifted(found, origin), drawn[slices(found)].copy()


def _forget_quietly(tasks: set[asyncio.Task]) -> Callable[[asyncio.Task], None]:
    """A callback for tasks that nobody may wait for any more; what they refused, the session's status says."""

    def forget(task: asyncio.Task) -> None:
        tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Refused | LeaseGone | TooManyRequests):
            logging.getLogger("msam.serve").error("a request failed", exc_info=error)

    return forget
