"""nnInteractive's own client against the server, every endpoint."""

import json
import time

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import ServerAtCapacityError, SessionExpiredError, _protocol
from nnInteractive.inference.remote.serialization import pack_array

from msam_nn.inference.prompting.image import PromptedImage
from msam_nn.server.session import InteractiveSession
from msam_nn.server.transport import routes as module
from msam_nn.server.viewer import Viewer

from .bright_network import bright, inside
from .conftest import BALL, ROD, SHAPE

JSON = {"Content-Type": "application/json"}
PATHS = {value for name, value in vars(_protocol).items() if name.startswith("PATH_")}


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def client(server, connect):
    """As 3D Slicer begins."""
    client = connect(server)
    begin(client)
    return client


def begin(client, dtype=np.uint8, image=None):
    client.set_do_autozoom(True)
    client.set_image(
        bright((1, *SHAPE), ((0, 1), *ROD), ((0, 1), *BALL)) if image is None else image, {"spacing": [1, 1, 1]}
    )
    client.set_target_buffer(np.zeros(SHAPE, dtype))
    client.reset_interactions()


def middle(box):
    return [(lower + upper) // 2 for lower, upper in box]


def test_all_paths_of_the_protocol_are_there(server):
    assert len(PATHS) == 17 and server.app.openapi()["paths"].keys() >= PATHS


def test_the_capabilities_are_what_the_client_needs(server, connect):
    client = connect(server)
    assert client.ping() and all(client.supported_interactions.values()) and client.supports_undo
    assert len(client.preferred_scribble_thickness) == 3
    more = httpx.get(f"{server.url}/capabilities").json()
    assert more["labels"] == {"organ": 1, "tumour": 2} and more["label"] == "organ"
    assert more["patch_size"] == [16, 16, 16] and more["model_name"] == "bright objects"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_points_change_the_clients_buffer(client, dtype):
    client.set_target_buffer(np.zeros(SHAPE, dtype))
    assert client.add_point_interaction(middle(ROD), True) == [list(bounds) for bounds in ROD]
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD))
    client.add_point_interaction([0.4, 0.2, 0], True)  # napari sends fractions
    assert client.target_buffer[0, 0, 0]
    client.add_point_interaction(middle(ROD), False)
    assert not client.target_buffer[tuple(middle(ROD))]
    assert client.add_point_interaction([1000, 0, 0], True) is None


def test_boxes(client):
    client.add_bbox_interaction([[9, 10], [4.7, 9.4], [1.5, 36]], True)  # flat, with fractions
    assert client.target_buffer[9, 6, 20] and not client.target_buffer[~inside(SHAPE, ROD)].any()
    client.add_bbox_interaction([[8, 11], [5, 9], [0, 20]], False)
    assert not client.target_buffer[8:11, 5:9, :20].any() and client.target_buffer[9, 6, 30]


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_drawings_with_and_without_a_box(client, kind):
    add = getattr(client, f"add_{kind}_interaction")
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[9, 6, 10:20] = 1
    add(drawn, True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD))
    add(np.ones((1, 2, 3), np.uint8), False, interaction_bbox=[[9, 10], [6, 8], [12, 15]])
    assert not client.target_buffer[9, 6:8, 12:15].any()
    assert add(np.zeros(SHAPE, np.uint8), True) is None
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        add(np.ones((1, 2, 3), np.uint8), True, interaction_bbox=[[9, 10], [6, 8], [12, 16]])


def test_a_refusal_is_said_on_the_terminal(client, caplog):
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        client.set_image(np.ones((2, 8, 8, 8)))
    assert "set_image: The image has 2 channel(s)" in caplog.text


def test_undo_goes_back_step_by_step(client):
    client.add_point_interaction(middle(ROD), True)
    client.add_point_interaction(middle(BALL), True)
    assert client.undo() and np.array_equal(client.target_buffer, inside(SHAPE, ROD))
    assert client.undo() and not client.target_buffer.any()
    assert not client.undo()


def test_prompts_may_wait_for_a_prediction(client):
    client.add_point_interaction(middle(ROD), True, run_prediction=False)
    client.add_point_interaction(middle(BALL), True, run_prediction=False)
    assert not client.target_buffer.any()
    assert client.undo() and client._last_paste_bbox is None
    assert client._predict() == [list(bounds) for bounds in ROD]
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD))
    assert client._predict() is None
    assert client._predict(force_full_refine=True) is None  # it ran, and nothing changed


def test_a_segment_is_taken_over_and_corrected(client):
    client.add_initial_seg_interaction(inside(SHAPE, BALL).astype(np.uint8))
    assert client._last_paste_bbox is None and np.array_equal(client.target_buffer, inside(SHAPE, BALL))
    client.add_point_interaction(middle(ROD), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD, BALL))
    assert client.undo() and not client.undo()
    assert np.array_equal(client.target_buffer, inside(SHAPE, BALL))
    client.add_initial_seg_interaction(
        inside(SHAPE, ((4, 5), (15, 17), (12, 14))).astype(np.uint8), run_prediction=True
    )
    assert np.array_equal(client.target_buffer, inside(SHAPE, BALL))


def test_the_next_object_starts_from_nothing(client):
    client.add_point_interaction(middle(ROD), True)
    client.reset_interactions()
    assert not client.undo()
    client.add_point_interaction(middle(BALL), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, BALL))


def test_without_autozoom_a_prompt_keeps_to_its_window(client):
    client.set_do_autozoom(False)
    client.add_point_interaction(middle(ROD), True)
    assert client.target_buffer.sum() < inside(SHAPE, ROD).sum()


def test_another_image_starts_anew(client):
    client.add_point_interaction(middle(ROD), True)
    begin(client, image=bright((1, *SHAPE), ((0, 1), *BALL)))
    client.add_point_interaction(middle(ROD), True)
    assert client.target_buffer.sum() == 1


def test_the_automatic_prediction_comes_with_the_first_answer(serve, connect):
    client = connect(serve(automatic=True))
    begin(client)
    client.add_point_interaction(middle(BALL), False)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD))
    client.reset_interactions()
    assert client._predict() is not None
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD, BALL))


def test_viewers_segment_the_label_they_were_started_with(serve, connect):
    client = connect(serve(class_index=1))
    begin(client)
    client.add_point_interaction(middle(BALL), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, BALL))


def test_an_answer_that_takes_too_long_comes_with_the_next_one(client, monkeypatch):
    follow = PromptedImage.add_points

    def slowly(image, clicks):
        time.sleep(0.6)
        return follow(image, clicks)

    monkeypatch.setattr(PromptedImage, "add_points", slowly)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    assert client.add_point_interaction(middle(ROD), True) is None
    monkeypatch.undo()
    client.add_point_interaction(middle(BALL), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD, BALL))


def test_an_answer_that_is_ready_a_moment_too_late_comes_with_the_next_one(client, monkeypatch):
    answer = Viewer.answer

    def slowly(viewer, ran, begun):
        prediction = answer(viewer, ran, begun)
        time.sleep(0.6)
        return prediction

    monkeypatch.setattr(Viewer, "answer", slowly)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    assert client.add_point_interaction(middle(ROD), True) is None
    monkeypatch.undo()
    client.add_point_interaction(middle(BALL), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD, BALL))


def test_an_answer_that_waits_for_what_is_saved_is_not_late(serve, connect, monkeypatch, tmp_path):
    result = InteractiveSession.result

    def slowly(session):
        time.sleep(0.6)
        return result(session)

    client = connect(serve(save_to=tmp_path))
    client.set_image(bright((1, *SHAPE), ((0, 1), *ROD)), {"spacing": (1, 1, 1)})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.add_point_interaction(middle(ROD), True)
    client.undo()
    monkeypatch.setattr(InteractiveSession, "result", slowly)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    client.add_point_interaction(middle(ROD), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, ROD))


def test_leases_run_out_and_are_few(serve, connect):
    server = serve(max_sessions=1)
    client = connect(server)
    status = client.lease_status()
    assert 590 < status["remaining_seconds"] <= status["idle_timeout_seconds"] == 600
    assert 590 < client.heartbeat() <= 600
    with pytest.raises(ServerAtCapacityError, match="1 sessions"):
        connect(server)
    assert httpx.post(f"{server.url}/claim").headers["Retry-After"] == "10"
    token = client._lease_token
    client.close()
    answer = httpx.post(f"{server.url}/heartbeat", headers={"X-Lease-Token": token})
    assert (answer.status_code, answer.json()["detail"]) == (410, "lease expired or unknown")
    answer = httpx.post(f"{server.url}/undo", json={})
    assert (answer.status_code, answer.json()["detail"]) == (410, "lease token missing")
    assert httpx.post(f"{server.url}/release").json() == {"released": True}
    other = connect(server)
    httpx.post(f"{server.url}/release", headers={"X-Lease-Token": other._lease_token})
    with pytest.raises(SessionExpiredError):
        other.heartbeat()


def test_a_key_is_asked_from_everybody(serve, connect):
    server = serve(api_key="sesame")
    client = connect(server, api_key="sesame")
    begin(client)
    for key, detail in ((None, "Missing bearer token"), ("Bearer open", "Invalid bearer token")):
        headers = {} if key is None else {"Authorization": key}
        for path in PATHS - {"/healthz"}:
            answer = httpx.post(server.url + path, headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (401, detail)
    assert httpx.get(f"{server.url}/healthz").json() == {"ok": True}
    assert httpx.get(f"{server.url}/").status_code == 200
    assert httpx.get(f"{server.url}/page/api/info").status_code == 401


@pytest.mark.parametrize(
    ("path", "send", "status", "words"),
    [
        ("/add_point_interaction", {"json": {"coordinates": [1, 2], "include_interaction": True}}, 422, "coordinates"),
        ("/add_point_interaction", {"json": {"coordinates": [1, 2, 3]}}, 422, "include_interaction"),
        (
            "/add_point_interaction",
            {"content": b'{"coordinates": [NaN, 0, 0], "include_interaction": 1}', "headers": JSON},
            422,
            "finite",
        ),
        ("/add_point_interaction", {"content": b"{", "headers": JSON}, 422, "JSON"),
        ("/add_bbox_interaction", {"json": {"bbox_coords": [[1, 2]], "include_interaction": True}}, 422, "bbox_coords"),
        ("/set_target_buffer", {"json": {"shape": [1, 2, 3], "dtype": "uint8"}}, 400, "target buffer"),
        ("/set_target_buffer", {"json": {"shape": SHAPE, "dtype": "float32"}}, 400, "uint8"),
        ("/set_target_buffer", {"json": {"shape": SHAPE, "dtype": "i4,("}}, 400, "no type"),
        ("/add_scribble_interaction", {"content": b"rubbish", "headers": {"X-Meta": "{}"}}, 400, "X-Meta"),
        ("/add_scribble_interaction", {"content": b"x", "headers": {"X-Meta": "{"}}, 400, "X-Meta"),
        ("/add_lasso_interaction", {"content": pack_array(np.ones((2, 2, 2)))}, 400, "X-Meta"),
        ("/add_initial_seg_interaction", {"content": pack_array(np.ones((2, 2, 2)))}, 400, "expected"),
        ("/set_image", {"content": pack_array(np.ones((2, 2, 2)))}, 400, "4 axes"),
        ("/set_image", {"content": pack_array(np.zeros((1, 4, 4, 4)))}, 400, "empty"),
        ("/set_image", {"content": pack_array(np.ones((3, 4, 4, 4)))}, 400, "3 channel"),
        ("/undo", {"json": {}, "headers": {"Host": "evil.example"}}, 400, "evil.example"),
        ("/undo", {"json": {}, "headers": {"Origin": "http://evil.example"}}, 403, "other sites"),
    ],
)
def test_mistakes_get_a_sentence_and_cost_no_session(server, client, path, send, status, words):
    headers = {"X-Lease-Token": client._lease_token, **send.pop("headers", {})}
    answer = httpx.post(server.url + path, headers=headers, **send)
    assert answer.status_code == status and isinstance(answer.json()["detail"], str)
    assert words in answer.json()["detail"]
    client.add_point_interaction(middle(BALL), True)
    assert np.array_equal(client.target_buffer, inside(SHAPE, BALL))


def test_prompts_before_an_image_get_a_sentence(server, connect):
    client = connect(server)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        client.add_point_interaction([0, 0, 0], True)
    client.reset_interactions()
    assert client.heartbeat() > 0


def test_the_page_s_origin_is_welcome_and_no_other_gets_cors_headers(server):
    answer = httpx.get(f"{server.url}/capabilities", headers={"Origin": server.url})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_the_time_of_a_prompt_is_told(server, client):
    answer = httpx.post(
        f"{server.url}/add_point_interaction",
        headers={"X-Lease-Token": client._lease_token},
        json={"coordinates": middle(BALL), "include_interaction": True},
    )
    assert float(answer.headers["Server-Timing"].split("=")[1]) > 0
    assert json.loads(answer.headers["X-Meta"])["bbox"] == [list(bounds) for bounds in BALL]
