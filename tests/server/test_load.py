"""Many clients at once, and those that behave badly.

``MSAM_NN_LOAD_SECONDS=120 pytest tests/server/test_load.py`` is the long run.
"""

import contextlib
import gc
import os
import socket
import struct
import threading
import time

import httpx
import numpy as np
import psutil
import pytest
from nnInteractive.inference.remote.serialization import pack_array

from msam_nn.server.transport import guard

from .bright_network import bright, inside
from .conftest import SHAPE

SECONDS = float(os.environ.get("MSAM_NN_LOAD_SECONDS", "10"))
CLIENTS = 8


def own_ball(number):
    """A place of its own for each client."""
    corner = (2 + 8 * (number % 2), 2 + 10 * (number // 2 % 2), 3 + 18 * (number // 4 % 2))
    return tuple((c, c + 3 + number % 3) for c in corner)


def begin(client, number):
    client.set_do_autozoom(True)
    client.set_image(bright((1, *SHAPE), ((0, 1), *own_ball(number))), {"spacing": [1, 1, 1]})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.reset_interactions()


@pytest.mark.slow
def test_eight_clients_at_once_get_their_own_masks_and_nothing_leaks(serve, connect, model):
    server, kept_before = serve(max_sessions=CLIENTS), set(model.predictor.cache.kept())
    faults, counts, slowest = [], [0] * CLIENTS, [0.0] * CLIENTS
    end = time.monotonic() + SECONDS

    def click(number):
        try:
            ball = own_ball(number)
            voxel = [(lower + upper) // 2 for lower, upper in ball]
            while time.monotonic() < end:
                client = connect(server)
                begin(client, number)
                for _ in range(10):
                    start = time.monotonic()
                    client.add_point_interaction(voxel, True)
                    slowest[number] = max(slowest[number], time.monotonic() - start)
                    assert np.array_equal(client.target_buffer, inside(SHAPE, ball))
                    assert client.undo() and not client.target_buffer.any()
                    counts[number] += 1
                client.close()
        except Exception as error:
            faults.append(f"client {number}: {type(error).__name__} {error}")

    threads = [threading.Thread(target=click, args=(number,)) for number in range(CLIENTS)]
    memory = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        memory.append(psutil.Process().memory_info().rss)
    assert not faults
    assert min(counts) > 0
    until(lambda: len(server.registry) == 0 and not server.registry._closing)
    assert set(model.predictor.cache.kept()) <= kept_before
    half = memory[len(memory) // 2 :]
    assert max(half) - half[0] < 200 << 20, f"memory grew: {[m >> 20 for m in memory]} MiB"
    print(f"{sum(counts)} clicks and undos by {CLIENTS} clients in {SECONDS:g} s, slowest {max(slowest):.2f} s")


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def idle(server):
    """Wait for what the server does behind its answers."""
    until(lambda: all(lease.in_flight == 0 for lease in list(server.registry._leases.values())))


def raw(server, request, body=b""):
    """A connection on which a request was sent."""
    connection = socket.create_connection(server.url.removeprefix("http://").split(":"))
    connection.sendall(request.replace("\n", "\r\n").encode() + body)
    return connection


UPLOADS = ("POST", "/set_image"), ("PUT", "/page/api/image/0")
"""A viewer's and the page's."""


def upload(token, length, method="POST", path="/set_image"):
    return f"{method} {path} HTTP/1.1\nHost: localhost\nX-Lease-Token: {token}\nContent-Length: {length}\n\n"


@pytest.mark.parametrize(("method", "path"), UPLOADS)
def test_a_client_killed_in_mid_upload_frees_its_session(serve, method, path):
    server = serve(max_sessions=1, liveness_timeout=0.5)
    token = httpx.post(f"{server.url}/claim").json()["lease_token"]
    connection = raw(server, upload(token, 10_000_000, method, path), b"NNIA" * 1000)
    lease = server.registry.find(token)
    until(lambda: lease.in_flight == 1)
    time.sleep(0.7)
    assert len(server.registry) == 1  # alive while its request is in flight
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as a killed process ends
    connection.close()
    until(lambda: httpx.post(f"{server.url}/claim").status_code == 200)
    assert lease.gone


@pytest.mark.parametrize(("method", "path"), UPLOADS)
def test_bodies_of_a_lease_come_in_one_at_a_time(serve, method, path):
    server = serve()
    headers = {"X-Lease-Token": httpx.post(f"{server.url}/claim").json()["lease_token"]}
    connection = raw(server, upload(headers["X-Lease-Token"], 1000, method, path), b"NNIA")
    lease = server.registry.find(headers["X-Lease-Token"])
    until(lambda: lease.in_flight == 1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.request(method, server.url + path, headers=headers, content=b"another", timeout=1)
    connection.close()
    assert httpx.request(method, server.url + path, headers=headers, content=b"another").status_code in (200, 400)


def test_a_slow_client_holds_nobody_up_and_is_ended(serve, connect, monkeypatch):
    monkeypatch.setattr(guard, "CHUNK_SECONDS", 1.0)
    server = serve(max_sessions=2)
    token = httpx.post(f"{server.url}/claim").json()["lease_token"]
    connection = raw(server, upload(token, 1000), b"NNIA")
    client = connect(server)
    begin(client, 0)
    start = time.monotonic()
    assert client.add_point_interaction([3, 3, 4], True)
    assert time.monotonic() - start < 30
    connection.settimeout(30)
    assert b" 408 " in connection.recv(1000)
    connection.close()


def test_a_body_that_trickles_for_ever_is_ended(serve, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
    server = serve()
    token = httpx.post(f"{server.url}/claim").json()["lease_token"]
    connection = raw(server, upload(token, 1000), b"N")
    connection.settimeout(0.2)
    answer, start = b"", time.monotonic()
    while not answer and time.monotonic() - start < 30:
        connection.sendall(b"N")
        with contextlib.suppress(TimeoutError):
            answer = connection.recv(1000)
    assert b" 408 " in answer
    connection.close()


@pytest.mark.parametrize("declared", [True, False])
def test_uploads_are_limited(serve, declared):
    server = serve(max_upload_bytes=100_000)
    token = httpx.post(f"{server.url}/claim").json()["lease_token"]
    headers = {"X-Lease-Token": token}
    body = bytes(200_000) if declared else (bytes(1000) for _ in range(200))
    answer = httpx.post(f"{server.url}/set_image", headers=headers, content=body)
    assert answer.status_code == 413 and "--max-upload" in answer.json()["detail"]
    bomb = pack_array(np.zeros((1, 100, 100, 100), np.uint8))
    assert len(bomb) < 1000
    assert httpx.post(f"{server.url}/set_image", headers=headers, content=bomb).status_code == 413
    json_body = b'{"coordinates": [' + b" " * (guard.MOST_JSON + 1)
    headers["Content-Type"] = "application/json"
    assert httpx.post(f"{server.url}/add_point_interaction", headers=headers, content=json_body).status_code in (
        400,
        413,
    )


def test_a_release_during_a_prediction_ends_it_in_peace(serve, connect):
    server = serve(max_sessions=2)
    client, other = connect(server), connect(server)
    begin(client, 0)
    begin(other, 1)
    idle(server)
    answers = []
    headers = {"X-Lease-Token": client._lease_token}

    def click():
        point = {"coordinates": [3, 3, 4], "include_interaction": True}
        answers.append(httpx.post(f"{server.url}/add_point_interaction", headers=headers, json=point, timeout=60))

    blocked = threading.Event()
    blocking = threading.Thread(
        target=lambda: server.app.state.worker._enqueue(server.app.state.worker._short, blocked.wait)
    )
    blocking.start()
    clicking = threading.Thread(target=click)
    clicking.start()
    lease = server.registry.find(client._lease_token)
    until(lambda: lease.in_flight == 1)
    assert httpx.post(f"{server.url}/release", headers=headers).json() == {"released": True}
    blocked.set()
    clicking.join(60)
    assert answers[0].status_code == 410
    assert other.add_point_interaction([11, 3, 4], True)
    until(lambda: lease.session._segmentation is None)


def test_one_lease_cannot_fill_the_queue(serve, connect):
    server = serve()
    client = connect(server)
    begin(client, 0)
    idle(server)
    blocked = threading.Event()
    server.app.state.worker._enqueue(server.app.state.worker._short, blocked.wait)
    headers = {"X-Lease-Token": client._lease_token}
    point = {"coordinates": [3, 3, 4], "include_interaction": True}
    statuses = []

    def click():
        answer = httpx.post(f"{server.url}/add_point_interaction", headers=headers, json=point, timeout=60)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=click) for _ in range(40)]
    for thread in threads:
        thread.start()
    until(lambda: 429 in statuses)
    blocked.set()
    for thread in threads:
        thread.join(60)
    assert set(statuses) == {200, 429}
    gc.collect()


def test_another_lease_sees_nothing(serve, connect):
    server = serve()
    first, second = connect(server), connect(server)
    begin(first, 0)
    begin(second, 1)
    first.add_point_interaction([3, 3, 4], True)
    assert second._predict() is None and not second.undo() and not second.target_buffer.any()
    second.close()
    for token in (second._lease_token or "", first._lease_token[:-1] + "x", first._lease_token.upper()):
        assert httpx.post(f"{server.url}/undo", headers={"X-Lease-Token": token}, json={}).status_code == 410
