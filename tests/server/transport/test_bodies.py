import contextlib
import struct
import tracemalloc

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nnInteractive.inference.remote.serialization import pack_array, unpack_array

from msam_nn.server.transport.bodies import pack, unpack
from msam_nn.server.transport.guard import TooLarge
from msam_nn.server.worker import Refused

LIMIT = 1 << 20
DTYPES = ("bool", "uint8", "uint16", "int16", "int32", "float32", "float64")


def claim(dtype="uint8", shape=(2, 2, 2), chunks=((8, None),), codec=1, version=1, magic=b"NNIA"):
    """A packed array that claims things; each chunk is what it says, unless it says otherwise itself."""
    name = dtype.encode()
    parts = [struct.pack("<4sBBBB", magic, version, codec, len(shape), len(name)), name]
    parts += [struct.pack(f"<{len(shape)}q", *shape), struct.pack("<I", len(chunks))]
    for size, content in chunks:
        content = blosc2.compress2(bytes(size), typesize=1) if content is None else content
        parts += [struct.pack("<QQ", size, len(content)), content]
    return b"".join(parts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_the_client_packs_is_read(dtype):
    array = (np.arange(2 * 3 * 4).reshape(2, 3, 4) % 2).astype(dtype)
    assert np.array_equal(unpack(bytearray(pack_array(array)), ndim=3, max_bytes=LIMIT, shape=(2, 3, 4)), array)


def test_the_client_reads_what_is_packed():
    array = np.zeros((30, 40, 50), np.uint16)
    array[4:9] = 1
    assert np.array_equal(unpack_array(pack(array)), array)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"NNIA",
        b"\x89PNG\r\n\x1a\n" * 20,
        claim(magic=b"NIFT"),
        claim(version=2),
        claim(codec=9),
        claim(dtype="object"),
        claim(dtype="str8"),
        claim(dtype="complex64"),
        claim(dtype="f4,(3)i2"),
        claim(dtype="\x00"),
        claim(shape=(2, 2)),
        claim(shape=(0, 2, 4)),
        claim(shape=(-2, -2, 2)),
        claim(shape=(3, 2, 2)),
        claim(chunks=()),
        claim(chunks=((8, None), (8, None))),
        claim(chunks=((8, b""),)),
        claim(chunks=((8, bytes(40)),)),
        claim(chunks=((8, blosc2.compress2(bytes(9), typesize=1)),)),
        claim()[:-1],
        claim() + b"0",
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(Refused, match="no packed array"):
        unpack(body, ndim=3, max_bytes=LIMIT)


def test_another_shape_is_refused():
    with pytest.raises(Refused, match="expected"):
        unpack(claim(), ndim=3, max_bytes=LIMIT, shape=(2, 2, 3))


@pytest.mark.parametrize(
    "bomb",
    [
        claim(dtype="float64", shape=(4096, 4096, 800)),  # claims 100 GiB in a hundred bytes
        claim(dtype="uint8", shape=(1 << 31, 1 << 31, 1 << 31)),
        pack_array(np.zeros((1, 1 << 12, 1 << 13), np.uint8)),  # 32 MiB of zeros in a few bytes
    ],
)
def test_a_bomb_is_refused_before_it_takes_memory(bomb):
    assert len(bomb) < 10_000
    tracemalloc.start()
    with pytest.raises(TooLarge):
        unpack(bomb, ndim=3, max_bytes=LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LIMIT


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(st.sampled_from(DTYPES), arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_arrays_survive_the_way(array):
    found = unpack(pack_array(array), ndim=3, max_bytes=LIMIT)
    assert found.dtype == array.dtype and np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bodies_are_refused_or_read(data):
    body = bytearray(pack_array(np.arange(600, dtype=np.int16).reshape(10, 6, 10)))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body)
    with contextlib.suppress(Refused, TooLarge):
        assert unpack(body, ndim=3, max_bytes=LIMIT).ndim == 3


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(body):
    with pytest.raises((Refused, TooLarge)):
        unpack(b"NNIA\x01" + body, ndim=3, max_bytes=LIMIT)
