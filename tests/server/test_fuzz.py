"""Requests made up from the server's own description, bodies made up from the codec's: none may be an error of ours.

``MSAM_NN_FUZZED_REQUESTS=10000 pytest tests/server/test_fuzz.py`` is the long run.
"""

import gc
import json
import os

import httpx
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnInteractive.inference.remote.serialization import pack_array

from .bright_network import bright
from .conftest import BALL, SHAPE

REQUESTS = int(os.environ.get("MSAM_NN_FUZZED_REQUESTS", "150"))
QUIET = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))
IMAGE = pack_array(bright((1, *SHAPE), ((0, 1), *BALL)))

coordinates = st.one_of(st.integers(-5, 45), st.floats(), st.integers(), st.none(), st.text(max_size=3))
triples = st.lists(coordinates, min_size=2, max_size=4)
flags = st.sampled_from([True, False, None, 0, 1, "yes"])
PROMPTS = {
    "/add_point_interaction": st.fixed_dictionaries(
        {"coordinates": triples}, optional={"include_interaction": flags, "run_prediction": flags}
    ),
    "/add_bbox_interaction": st.fixed_dictionaries(
        {"bbox_coords": st.lists(st.lists(coordinates, min_size=1, max_size=3), min_size=2, max_size=4)},
        optional={"include_interaction": flags, "run_prediction": flags},
    ),
    "/set_target_buffer": st.fixed_dictionaries(
        {"shape": st.one_of(st.just(list(SHAPE)), triples), "dtype": st.sampled_from(["uint8", "bool", "O", "f4", "x"])}
    ),
    "/set_do_autozoom": st.fixed_dictionaries({"do_autozoom": flags}),
    "/predict": st.fixed_dictionaries({}, optional={"force_full_refine": flags}),
    "/undo": st.just({}),
    "/reset_interactions": st.just({}),
}
DRAWN = ("/add_scribble_interaction", "/add_lasso_interaction", "/add_initial_seg_interaction", "/set_image")


class Holder:
    """Keeps a session with an image, whatever is asked of it."""

    def __init__(self, server):
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=60)
        self.renew()

    def renew(self):
        self.http.headers["X-Lease-Token"] = self.http.post("/claim").json()["lease_token"]
        self.http.post("/set_image", content=IMAGE)

    def check(self, answer):
        """No 5xx but at capacity."""
        at_capacity = answer.status_code == 503 and answer.request.url.path == "/claim"
        assert answer.status_code < 500 or at_capacity, (answer.request.url.path, answer.status_code, answer.text[:300])
        if answer.request.url.path == "/claim" and answer.status_code == 200:
            self.http.post("/release", headers={"X-Lease-Token": answer.json()["lease_token"]})
        if self.http.get("/lease_status").status_code == 410:
            self.renew()


@pytest.fixture
def holder(serve):
    holder = Holder(serve(max_sessions=2, max_upload_bytes=4 << 20))
    yield holder
    assert len(holder.server.registry) == 1
    holder.http.close()


def test_requests_made_up_from_the_description(holder):
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{holder.server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20

    @settings(max_examples=REQUESTS, **QUIET)
    @given(st.one_of(*(operation.as_strategy() for operation in operations)), st.booleans())
    def run(case, own_lease):
        headers = {"X-Lease-Token": holder.http.headers["X-Lease-Token"]} if own_lease else None
        answer = case.call(headers=headers, timeout=60)
        holder.check(
            httpx.Response(answer.status_code, content=answer.content, request=httpx.Request("GET", answer.request.url))
        )

    run()


def test_prompts_made_up(holder):
    @settings(max_examples=REQUESTS, **QUIET)
    @given(st.sampled_from(sorted(PROMPTS)).flatmap(lambda path: st.tuples(st.just(path), PROMPTS[path])))
    def run(request):
        path, content = request
        text = json.dumps(content)
        holder.check(holder.http.post(path, content=text, headers={"Content-Type": "application/json"}))

    before = psutil.Process().memory_info().rss
    run()
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 500 << 20


def test_bodies_made_up(holder):
    arrays = [np.ones(SHAPE, np.uint8), np.zeros(SHAPE, np.float32), np.ones((1, 2, 3), bool), np.ones((1, *SHAPE))]
    packed = [pack_array(array) for array in arrays]
    boxes = st.one_of(st.none(), st.lists(st.lists(coordinates, min_size=2, max_size=2), min_size=3, max_size=3))
    metas = st.fixed_dictionaries(
        {}, optional={"include_interaction": flags, "run_prediction": flags, "interaction_bbox": boxes,
                      "image_properties": st.dictionaries(st.just("spacing"), triples)}
    )  # fmt: skip

    @settings(max_examples=REQUESTS, **QUIET)
    @given(st.sampled_from(DRAWN), st.sampled_from(packed), metas, st.data())
    def run(path, body, meta, data):
        if data.draw(st.booleans()):
            body = bytearray(body)
            for _ in range(data.draw(st.integers(1, 4))):
                body[data.draw(st.integers(0, min(len(body), 120) - 1))] = data.draw(st.integers(0, 255))
            body = bytes(body[: data.draw(st.integers(0, len(body)))])
        holder.check(holder.http.post(path, content=body, headers={"X-Meta": json.dumps(meta)}))

    run()
