"""What the page asks, without a browser."""

import gzip
import hashlib
import json
import threading
import time

import httpx
import nibabel
import numpy as np
import pytest

from msam_nn.server.session import InteractiveSession

from ..bright_network import bright, inside

SHAPE = (12, 14, 16)
BALL = ((4, 8), (5, 9), (6, 10))
NIFTI = nibabel.Nifti1Image(bright(SHAPE, BALL).T, np.eye(4)).to_bytes()
NIIVUE = "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"


class Browser(httpx.Client):
    """A client with a lease."""

    def __init__(self, server, **options):
        super().__init__(base_url=server.url, timeout=30, **options)

    def __enter__(self):
        super().__enter__()
        self.headers["X-Lease-Token"] = self.post("/claim").json()["lease_token"]
        return self

    def open(self, content=NIFTI, name="case"):
        assert self.put("/page/api/image/0", content=content).status_code == 200
        assert self.post("/page/api/open", json={"name": name}).status_code == 200

    def change(self, path, **prompt):
        """Box, labels and what else the answer says."""
        response = self.post(f"/page/api/{path}", json={"class": 0, "positive": True, **prompt} if prompt else None)
        assert response.status_code == 200, response.text
        meta = json.loads(response.headers["X-Meta"])
        labels = np.frombuffer(response.content, np.uint8)
        return meta["box"], labels.reshape([b - a for a, b in meta["box"] or ()] or [0]), meta

    def wait(self):
        while self.get("/page/api/status").json()["state"] in ("preparing", "predicting"):
            time.sleep(0.01)


@pytest.fixture
def browser(serve):
    with Browser(serve()) as browser:
        yield browser


def sentence(response, status=400):
    assert response.status_code == status, response.text
    return response.json()["detail"]


def test_from_file_to_mask(browser):
    browser.open(gzip.compress(NIFTI))
    box, labels, meta = browser.change("prompt", kind="point", voxel=[5, 6, 7])
    assert box == [list(bounds) for bounds in BALL] and (labels == 1).all()
    assert meta["done"] and meta["can_undo"] and not meta["can_redo"] and meta["seconds"] > 0
    box, labels, meta = browser.change("undo")
    assert box == [list(bounds) for bounds in BALL] and not labels.any() and meta["can_redo"]
    box, labels, _ = browser.change("redo")
    assert (labels == 1).all()
    assert browser.change("changes")[0] is None, "all of it was told"
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(browser.get("/page/api/mask.nii.gz").content))
    assert np.array_equal(np.asarray(mask.dataobj).T, inside(SHAPE, BALL))
    prompts = browser.get("/page/api/prompts.json").json()
    assert prompts == {"space": "voxel", "case": {"organ": {"points": [[5, 6, 7, 1]]}}}
    assert not browser.change("undo")[1].any() and browser.change("undo")[2]["done"] is False


def test_automatic_prediction_and_another_class(browser):
    browser.open()
    browser.post("/page/api/automatic")
    browser.wait()
    box, labels, _ = browser.change("changes")
    assert box == [list(bounds) for bounds in BALL] and (labels == 1).all()
    box, labels, _ = browser.change(
        "prompt", kind="scribble", box=[[4, 5], [5, 6], [6, 8]], mask="wA==", **{"class": 1}
    )
    whole = np.zeros(SHAPE, int)
    whole[tuple(slice(*bounds) for bounds in BALL)] = 1
    whole[tuple(slice(*bounds) for bounds in box)] = labels
    assert whole[4, 5, 6] == whole[4, 5, 7] == 2


def test_an_automatic_prediction_that_waits_for_its_turn_is_told(browser, monkeypatch, model):
    predict, turn = InteractiveSession.predict_automatically, threading.Event()

    def fail(*_):
        raise RuntimeError("out of memory")

    browser.open()
    browser.wait()
    with monkeypatch.context() as broken:
        broken.setattr(model.predictor, "predict_masks", fail)
        browser.post("/page/api/automatic")
        browser.wait()
    assert "out of memory" in browser.get("/page/api/status").json()["message"]
    monkeypatch.setattr(InteractiveSession, "predict_automatically", lambda session: turn.wait(60) and predict(session))
    browser.post("/page/api/automatic")
    assert browser.get("/page/api/status").json() == {"state": "predicting", "progress": 0, "message": ""}
    turn.set()
    browser.wait()
    assert browser.get("/page/api/status").json() == {"state": "ready", "progress": 1, "message": ""}


def test_a_new_image_forgets_the_old_one(browser):
    browser.open()
    browser.change("prompt", kind="point", voxel=[5, 6, 7])
    browser.open(name="other")
    assert browser.change("prompt", kind="point", voxel=[0, 0, 0], positive=False)[1].sum() == 0
    assert set(browser.get("/page/api/prompts.json").json()) == {"space", "other"}


def test_a_prompt_outside_the_image_does_nothing(browser):
    browser.open()
    box, _, meta = browser.change("prompt", kind="point", voxel=[500, 0, 0])
    assert box is None and meta["done"] is False


def test_mistakes_are_sentences(browser):
    assert "send the channels" in sentence(browser.post("/page/api/open", json={"name": "case"}))
    assert "1 channel(s), not 2" in sentence(browser.put("/page/api/image/1", content=NIFTI))
    assert "damaged" in sentence(browser.put("/page/api/image/0", content=gzip.compress(NIFTI)[:-20]))
    browser.put("/page/api/image/0", content=b"no image")
    assert "case" not in sentence(browser.post("/page/api/open", json={"name": "case"}))
    browser.open()
    sentence(
        browser.post("/page/api/prompt", json={"kind": "point", "voxel": [1, 2], "class": 0, "positive": True}), 422
    )
    refused = browser.post("/page/api/prompt", json={"kind": "point", "voxel": [1, 2, 3], "class": 9, "positive": True})
    assert "2 classes, not 10" in sentence(refused)
    sentence(browser.get("/page/static/..%2froutes.py"), 404)


def test_a_file_that_cannot_be_prepared_says_why(browser):
    browser.open(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).to_bytes())
    browser.wait()
    status = browser.get("/page/api/status").json()
    assert status["state"] == "failed" and "all its voxels are 0" in status["message"]


def test_a_bomb_is_refused_before_memory_is_taken(serve):
    bomb = gzip.compress(bytes(64 << 20), 1)
    with Browser(serve(max_upload_bytes=1 << 20)) as browser:
        assert len(bomb) < 1 << 20
        assert "more than 1 MiB unpacked" in sentence(browser.put("/page/api/image/0", content=bomb))
        sentence(browser.put("/page/api/image/0", content=bytes(2 << 20)), 413)


def test_every_lease_has_its_own(serve):
    server = serve()
    with Browser(server) as one, Browser(server) as other:
        one.open(name="secret")
        sentence(other.get("/page/api/mask.nii.gz"))
        assert "secret" not in other.get("/page/api/prompts.json").text
        other.headers.pop("X-Lease-Token")
        for path in ("mask.nii.gz", "prompts.json", "status"):
            sentence(other.get(f"/page/api/{path}"), 410)


def test_the_page_is_public_and_its_questions_are_not(serve):
    server = serve(api_key="secret")
    with httpx.Client(base_url=server.url) as client:
        for path in ("/", "/page/static/main.js", "/page/static/niivue.js"):
            response = client.get(path)
            assert response.status_code == 200
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        for path in ("info", "status", "mask.nii.gz"):
            assert client.get(f"/page/api/{path}").status_code == 401
        info = client.get("/page/api/info", headers={"Authorization": "Bearer secret"}).json()
        assert [c["name"] for c in info["classes"]] == ["organ", "tumour"]


def test_niivue_is_the_file_that_its_readme_names(serve):
    with httpx.Client(base_url=serve().url) as client:
        assert hashlib.sha256(client.get("/page/static/niivue.js").content).hexdigest() == NIIVUE


def test_another_image_ends_the_automatic_prediction_of_the_one_before(browser, monkeypatch):
    stopped = []
    monkeypatch.setattr(InteractiveSession, "stop", lambda session: stopped.append(session))
    browser.put("/page/api/image/0", content=b"no image")
    sentence(browser.post("/page/api/open", json={"name": "case"}))
    assert not stopped, "the image that is open is still worth predicting"
    browser.open()
    assert len(stopped) == 1
