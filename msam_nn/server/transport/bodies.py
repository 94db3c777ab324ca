"""Arrays in bodies, checked before they cost memory."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import blosc2
import numpy as np
from fastapi import Request
from nnInteractive.inference.remote.serialization import MAGIC, pack_array, unpack_array

from msam_nn.server.transport.guard import TooLarge
from msam_nn.server.worker import Refused

HEADER = struct.Struct("<4sBBBB")
CHUNK = struct.Struct("<QQ")
BLOSC_HEADER = 32
"""Bytes of a blosc2 chunk's own header, the shortest that is read."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """A request's body.

    Raises:
        TooLarge: beyond ``max_bytes``, at once where the header says so.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge
    return body


def unpack(body: bytes, *, ndim: int, max_bytes: int, shape: Sequence[int] | None = None) -> np.ndarray:
    """An array packed by nnInteractive's client.

    What the body claims is checked against its own length, its chunks and the limits before memory is taken; and no
    other types than numbers are made, because the bytes of a Python object are an address.

    Arguments:
        shape: that the array must have; None takes any of ``ndim`` axes.

    Raises:
        Refused: for anything but such an array.
        TooLarge: for more than ``max_bytes``.
    """
    try:
        _insist_on_sound_array(memoryview(body), ndim, max_bytes, shape)
        return unpack_array(body)
    except TooLarge:
        raise
    except Exception as error:
        raise Refused(f"The body is no packed array: {error}.") from error


def pack(array: np.ndarray) -> bytes:
    """A mask as nnInteractive's client reads it."""
    return pack_array(array, filters=[blosc2.Filter.NOFILTER], nthreads=1)


def _insist_on_sound_array(body: memoryview, ndim: int, max_bytes: int, shape: Sequence[int] | None) -> None:
    magic, _, _, n_axes, name_length = HEADER.unpack_from(body)
    if magic != MAGIC or n_axes != ndim:
        raise ValueError(f"it does not begin as one with {ndim} axes")
    at = HEADER.size
    name = bytes(body[at : at + name_length]).decode("ascii")
    if not name.isalnum():
        raise ValueError(f"{name!r} is no type")
    dtype = np.dtype(name)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"{dtype} are no numbers for an image")
    at += name_length
    claimed = struct.unpack_from(f"<{ndim}q", body, at)
    at += 8 * ndim
    if min(claimed) < 1:
        raise ValueError(f"the shape {claimed} is impossible")
    if shape is not None and claimed != tuple(shape):
        raise ValueError(f"the shape is {claimed}, and {tuple(shape)} was expected")
    size = math.prod(claimed) * dtype.itemsize
    if size > max_bytes:
        raise TooLarge
    (n_chunks,) = struct.unpack_from("<I", body, at)
    at, total = at + 4, 0
    for _ in range(n_chunks):
        unpacked, packed = CHUNK.unpack_from(body, at)
        at += CHUNK.size
        chunk = body[at : at + packed]
        if packed < BLOSC_HEADER or len(chunk) != packed:
            raise ValueError("it ends early")
        if blosc2.get_cbuffer_sizes(chunk)[:2] != (unpacked, packed):
            raise ValueError("a chunk has another size than it says")
        at, total = at + packed, total + unpacked
    if at != len(body) or total != size:
        raise ValueError(f"it holds {total} bytes where its shape needs {size}")
