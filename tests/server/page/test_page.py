"""The page as a user meets it, on a network whose answers are known."""

import io
import json
import re
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from msam_nn.inference.batch import PromptedBatch
from msam_nn.inference.prompt_file import read_prompts
from msam_nn.server.session import InteractiveSession

from ..bright_network import bright, inside

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RED, BLUE = (255, 107, 94), (79, 179, 255)
"""The first two classes' colours."""

TIME = r"[1-9]\d* ms|\d+\.\d\d s|\d+ s"

SHAPE = (20, 24, 40)
BLOCK = ((7, 13), (9, 16), (14, 27))
"""A bright object in the middle; another one beside it."""
BESIDE = ((2, 5), (2, 6), (30, 36))


class User:
    """Somebody with a mouse and a keyboard.

    Places are percents of the height of the image's area, from its middle to the right and down.
    """

    def __init__(self, page, address):
        self.page = page
        page.goto(address)
        page.wait_for_selector("body[data-ready]")

    def open(self, *files, layout="Axial"):
        self.look(layout)  # the 3D view is slow without a GPU
        self.page.set_input_files("#files", [str(file) for file in files])
        self.page.wait_for_selector("#automatic:not([disabled])")
        self.page.wait_for_selector("#progress[hidden]", state="attached")

    def drop(self, *files, layout="Axial"):
        """Drag files over the image and let go, as from a file manager."""
        self.look(layout)
        x, y = self.pixel(0, 0)
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        browser = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver"):
            browser.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})
        self.page.wait_for_selector("#drop-hint:not([hidden])")
        browser.send("Input.dispatchDragEvent", {"type": "drop", "x": x, "y": y, "data": data})
        self.page.wait_for_selector("#automatic:not([disabled])")
        self.page.wait_for_selector("#progress[hidden]", state="attached")

    def look(self, layout):
        self.page.select_option("#layout", layout)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        self.wait()

    def click(self, right=0, down=0, button="left"):
        self.page.mouse.click(*self.pixel(right, down), button=button)
        self.wait()

    def drag(self, *places, button="left"):
        self.page.mouse.move(*self.pixel(*places[0]))
        self.page.mouse.down(button=button)
        for place in places[1:]:
            self.page.mouse.move(*self.pixel(*place), steps=2)
        self.page.mouse.up(button=button)
        self.wait()

    def wait(self):
        self.page.wait_for_selector("body[data-busy=false]")

    def pixel(self, right, down):
        box = self.page.locator("#gl").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return middle[0] + right * box["height"] / 100, middle[1] + down * box["height"] / 100

    def steps(self):
        """Sign, text and time, newest first."""
        return [item.inner_text().split("\n") for item in self.page.locator("#steps li:not(.empty)").all()]

    def location(self):
        """Voxel ``(z, y, x)`` under the crosshair, and its value."""
        voxel, value = re.fullmatch(r"voxel (.*) \(z, y, x\) · value (.*)", self.page.inner_text("#location")).groups()
        return tuple(map(int, voxel.split(", "))), float(value)

    def colored(self, color):
        """Pixels of the image's area in which a colour has been mixed with grey."""
        picture = self.page.locator("#stage").screenshot()
        rgb = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=float)
        tint, tinted = np.subtract(color, np.mean(color)), rgb - rgb.mean(-1, keepdims=True)
        share = tinted @ tint / (tint @ tint)
        return int(((share > 0.15) & (np.abs(tinted - share[..., None] * tint).max(-1) < 12)).sum())

    def save(self, what, file):
        with self.page.expect_download() as download:
            self.page.click(f"#save-{what}")
        download.value.save_as(file)
        return file

    def mask(self, folder):
        """The saved mask, ``(z, y, x)``."""
        return np.asarray(nibabel.load(self.save("mask", folder / "mask.nii.gz")).dataobj).T


@pytest.fixture
def user(page, serve):
    return User(page, serve().url)


@pytest.fixture
def case(tmp_path):
    """A NIfTI of two bright objects, stored as most scanners' are, with two millimetres between the slices."""
    file = tmp_path / "case_0000.nii.gz"
    affine = np.array([[-1.0, 0, 0, 40], [0, -1, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(bright(SHAPE, BLOCK, BESIDE).T, affine)
    image.header["descrip"] = b"of the scanner"
    nibabel.save(image, file)
    return file


def test_an_image_is_dropped_on_the_page(user, case):
    user.drop(case)
    assert user.page.inner_text("#case") == "case"
    assert user.page.is_hidden("#drop-hint")
    user.click()
    assert user.colored(RED) > 1000


def test_click_undo_redo_save_and_the_same_in_python(user, case, model, tmp_path):
    user.open(case)
    assert user.page.inner_text("#case") == "case" and user.colored(RED) == 0
    user.click()
    seen = user.colored(RED)
    assert seen > 1000
    voxels = np.prod([high - low for low, high in BLOCK])
    assert user.page.inner_text("#size-0") == f"{voxels * 2 / 1000:.2f} ml"
    user.click(0, 35, button="right")
    assert [(sign, text.split()[0]) for sign, text, _ in user.steps()] == [("−", "Click"), ("+", "Click")]
    assert all(re.fullmatch(TIME, time) for *_, time in user.steps())

    user.press("Control+z", "Control+z")
    assert user.colored(RED) == 0 and user.page.inner_text("#size-0") == ""
    assert user.page.is_disabled("#undo")
    user.page.click("#redo")
    user.press("Control+y")
    assert abs(user.colored(RED) - seen) < seen / 20

    saved = nibabel.load(user.save("mask", tmp_path / "mask.nii.gz"))
    mask = np.asarray(saved.dataobj)
    assert np.array_equal(mask.T, inside(SHAPE, BLOCK))
    prompts = read_prompts(user.save("prompts", tmp_path / "prompts.json"))
    assert [point[3] for point in prompts.cases["case"]["organ"].points] == [1, 0]

    (tmp_path / "images").mkdir()
    (tmp_path / "images" / case.name).symlink_to(case)
    batch = PromptedBatch(model.predictor, prompts, progress=False)
    assert batch.run(tmp_path / "images", tmp_path / "predicted") == {}
    predicted, image = nibabel.load(tmp_path / "predicted" / "case.nii.gz"), nibabel.load(case)
    assert np.array_equal(mask, predicted.dataobj)
    assert np.array_equal(saved.affine, image.affine) and saved.get_data_dtype() == np.uint8
    for field in set(image.header) - {"datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max"}:
        assert np.array_equal(saved.header[field], image.header[field]), field


def _rotation(degrees, axis):
    return np.reshape(sitk.VersorTransform(axis, np.radians(degrees)).GetMatrix(), (3, 3))


AFFINES = {
    "oblique": _rotation(25, (1.0, 2.0, 0.5)) @ np.diag([1.0, 1.0, 2.0]),
    "sagittal slices, flipped": np.array([[0, 0, -2.0], [1.0, 0, 0], [0, -1.0, 0]]),
    "oblique, coronal, flipped": _rotation(-30, (0.3, 1.0, 1.0)) @ np.array([[-1.0, 0, 0], [0, 0, 1.5], [0, 1.0, 0]]),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_clicks_go_to_the_voxels_of_the_file(user, affine, tmp_path):
    """Every voxel has its own value, so that the value that the page shows tells where it is in the file."""
    array = np.random.default_rng(0).permutation(np.arange(1, 1 + 18 * 22 * 26)).reshape(18, 22, 26)
    full = np.eye(4)
    full[:3, :3] = affine
    file = tmp_path / "numbers.nii"
    nibabel.save(nibabel.Nifti1Image(array.T.astype(np.int16), full), file)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    user.open(file)
    clicked = []
    for layout, place in (("Axial", (5, -12)), ("Coronal", (-8, 4)), ("Sagittal", (9, 6))):
        user.look(layout)
        user.click(*place)
        voxel, value = user.location()
        assert read[voxel] == value
        assert user.steps()[0][1] == f"Click {', '.join(map(str, voxel))}"
        clicked.append([*voxel, 1])
    prompts = json.loads(user.save("prompts", tmp_path / "prompts.json").read_text())
    assert prompts["numbers"] == {"organ": {"points": clicked}}


def test_box_scribble_lasso_and_classes(user, case, tmp_path):
    user.open(case)
    user.press("b")
    user.drag((-28, -22), (28, 24))
    assert user.steps() == [] and user.page.is_visible("#pending-box")
    user.press("Escape")
    assert not user.page.is_visible("#pending-box")
    user.drag((-28, -22), (28, 24))
    user.look("Coronal")
    user.drag((-28, -32), (28, 32))
    user.press("Enter", "2", "s")
    user.look("Axial")
    user.drag((30, -25), (38, -25))
    user.drag((-5, 0), (5, 0), button="right")
    user.press("l")
    user.drag((-40, 10), (-36, 10), (-36, 25), (-40, 25))
    kinds = [(sign, text) for sign, text, _ in user.steps()]
    assert kinds == [("+", "Lasso"), ("−", "Scribble"), ("+", "Scribble"), ("•", "Box")]
    assert user.colored(RED) > 500 and user.colored(BLUE) > 100
    prompts = read_prompts(user.save("prompts", tmp_path / "prompts.json")).cases["case"]
    mask = user.mask(tmp_path)
    [box] = prompts["organ"].boxes
    assert box[1] - box[0] >= 6 and box[::2] < (7, 9, 14) and box[1::2] > (13, 16, 27), "the depth of the second plane"
    for z, y, x, label in prompts["tumour"].points:
        assert (mask[z, y, x] == 2) == label
    assert {label for *_, label in prompts["tumour"].points} == {0, 1}
    assert np.array_equal(mask == 1, inside(SHAPE, BLOCK)), "the box holds the first object"
    assert 10 < (mask == 2).sum() < 200, "what was drawn holds"


def test_automatic_prediction_and_reset(user, case, tmp_path):
    user.open(case)
    user.press("a")
    [(sign, text, time)] = user.steps()
    assert (sign, text) == ("•", "Automatic prediction") and re.fullmatch(TIME, time)
    assert np.array_equal(user.mask(tmp_path), inside(SHAPE, BLOCK, BESIDE))
    user.click(button="right")
    [(first, *_), *_] = user.steps()
    assert first == "−" and user.mask(tmp_path).sum() < inside(SHAPE, BLOCK, BESIDE).sum()
    user.page.click("#reset")
    user.wait()
    assert len(user.steps()) == 1
    assert np.array_equal(user.mask(tmp_path), inside(SHAPE, BLOCK, BESIDE)), "back to the automatic prediction"


def test_clicks_that_wait_do_not_reach_the_next_image(user, case, monkeypatch, tmp_path):
    add_point, sent = InteractiveSession.add_point, []

    def slowly(session, *arguments):
        sent.append(session.name)
        time.sleep(1)
        return add_point(session, *arguments)

    user.open(case)
    monkeypatch.setattr(InteractiveSession, "add_point", slowly)
    for _ in range(3):
        user.page.mouse.click(*user.pixel(0, 0))
    (tmp_path / "other_0000.nii.gz").write_bytes(case.read_bytes())
    user.open(tmp_path / "other_0000.nii.gz")
    user.wait()
    assert sent == ["case"] and user.steps() == []
    assert user.colored(RED) == 0 and not user.mask(tmp_path).any()


def test_clicks_while_something_is_taken_back(user, case, monkeypatch, tmp_path):
    def slow_down(name):
        act = getattr(InteractiveSession, name)
        monkeypatch.setattr(InteractiveSession, name, lambda session: time.sleep(1) or act(session))

    def clicks():
        return json.loads(user.save("prompts", tmp_path / "prompts.json").read_text())["case"]["organ"]["points"]

    user.open(case)
    user.click()
    slow_down("undo")
    user.page.keyboard.press("Control+z")
    user.click(5, 0)
    [(_, text, _)], [[*voxel, _]] = user.steps(), clicks()
    assert text == f"Click {', '.join(map(str, voxel))}"
    user.press("Control+z")
    user.press("Control+y")
    assert [step[1] for step in user.steps()] == [text] and user.page.locator("#steps .undone").count() == 0
    assert clicks() == [[*voxel, 1]]

    slow_down("reset")
    user.page.click("#reset")
    user.click(-5, 0)
    [(_, text, _)], [[*voxel, _]] = user.steps(), clicks()
    assert text == f"Click {', '.join(map(str, voxel))}"


def test_a_click_outlives_an_automatic_prediction_that_fails(user, case, model, monkeypatch):
    def fail(*_):
        time.sleep(1)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.predictor, "predict_masks", fail)
    user.open(case)
    user.click()
    user.page.keyboard.press("a")
    user.click(5, 0)
    assert "out of memory" in user.page.inner_text("#message-text")
    assert len(user.steps()) == 2 and user.page.locator("#steps .undone").count() == 0


def test_the_keyboard_alone(user, case):
    user.open(case)
    start, _ = user.location()
    user.press("ArrowUp", "ArrowUp", "PageUp", "e")
    moved, _ = user.location()
    assert (moved[0] - start[0], moved[1] - start[1], moved[2] - start[2]) == (1, -2, 0), "up is to the front"
    assert user.steps()[0][:2] == ["+", f"Click {', '.join(map(str, moved))}"]
    seen = user.colored(RED)
    user.press("h")
    assert user.colored(RED) == 0 < seen
    user.press("h", "ArrowRight", "Shift+E")
    assert user.steps()[0][0] == "−"
    user.press("?")
    assert "take what lies here away" in user.page.inner_text("#help")


def test_the_window_by_mouse_and_back(user, case):
    from playwright.sync_api import expect

    user.open(case)
    low = user.page.locator("#window-low")
    before = low.input_value()
    user.drag((0, 0), (-15, 0), (-15, 8), button="right")
    expect(low).not_to_have_value(before, timeout=30_000)
    assert user.steps() == [], "a drag is no click"
    user.page.click("#window-auto")
    expect(low).to_have_value(before, timeout=30_000)


def test_mistakes_get_a_sentence(user, faults, tmp_path):
    empty = nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).to_bytes()
    for names, content, sentence in (
        (["notes.txt"], b"x", "This is no NIfTI"),
        (["a.nii.gz", "b.nii.gz"], b"x", "The model takes one image (noNorm); these are 2."),
        (["a.nii.gz"], b"\x1f\x8b broken", "a.nii.gz is damaged or no NIfTI"),
        (["a.nii"], b"nothing", "a.nii is damaged or no NIfTI"),
        (["a.nii"], empty, "The image is empty"),
    ):
        for name in names:
            (tmp_path / name).write_bytes(content)
        user.page.set_input_files("#files", [tmp_path / name for name in names])
        user.page.wait_for_selector("#message:not([hidden])")
        assert sentence in user.page.inner_text("#message-text")
        user.page.click("#message-close")
    faults.clear()  # the browser writes refused requests to its console


def test_a_key_is_asked_for(page, serve, faults):
    address = serve(api_key="a secret").url
    page.goto(address)
    for key in ("a guess", "a secret"):
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key", key)
        page.press("#key", "Enter")
    page.wait_for_selector("body[data-ready]")
    faults.clear()  # two answers with status 401
    page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    User(page, f"{address}/#key=a%20secret")
    assert "secret" not in page.url
