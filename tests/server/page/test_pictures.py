"""The page on a model trained on real data; with ``MSAM_NN_WRITE_DOCS=1`` it draws the pictures of docs/interactive.md:

    MSAM_NN_PICTURE_MODEL=.../Dataset501_STS_PETCT/MSAMTrainer_10cpuminutes__MSAMPlans__3d_fullres \
    MSAM_NN_PICTURE_CASE=.../Dataset501_STS_PETCT/imagesTr/STS_023 pytest tests/server/page/test_pictures.py
"""

import os
from pathlib import Path

import pytest

from .test_page import RED, User

IMAGES = Path(__file__).parents[3] / "docs" / "images"
MODEL, CASE = os.environ.get("MSAM_NN_PICTURE_MODEL"), os.environ.get("MSAM_NN_PICTURE_CASE")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.shared_data,
    pytest.mark.skipif(not (MODEL and CASE), reason="MSAM_NN_PICTURE_MODEL and MSAM_NN_PICTURE_CASE name no model"),
]


@pytest.fixture
def trained():
    from msam_nn.server.model import ServedModel

    return ServedModel.load(Path(MODEL))


def test_a_tumour_is_found_and_corrected(page, serve, trained):
    page.set_viewport_size({"width": 1280, "height": 800})
    user = User(page, serve(model=trained).url)
    user.open(*sorted(Path(CASE).parent.glob(f"{Path(CASE).name}_*")), layout="Planes and 3D")
    page.click("#automatic")
    page.wait_for_selector("#progress[hidden]", state="attached")
    user.wait()
    automatic = user.colored(RED)
    assert automatic > 1000
    user.click(-20, 25)
    user.click(-28, 15, button="right")
    assert len(user.steps()) == 3 and user.colored(RED) != automatic
    draw(page, "serve_page.png")
    page.select_option("#channel", "0+1")
    user.wait()
    draw(page, "serve_fused.png")


def draw(page, name: str) -> None:
    if os.environ.get("MSAM_NN_WRITE_DOCS"):
        page.screenshot(path=IMAGES / name)
