import json
import time

import nibabel
import numpy as np

from msam_nn.server import autosave

from .bright_network import bright, inside
from .conftest import BALL, ROD, SHAPE
from .test_load import until


def middle(box):
    return [(lower + upper) // 2 for lower, upper in box]


def test_every_object_is_saved_with_its_prompts_and_nothing_else_is(serve, connect, tmp_path):
    client = connect(serve(save_to=tmp_path / "saved"))
    client.set_image(bright((1, *SHAPE), ((0, 1), *ROD), ((0, 1), *BALL)), {"spacing": [3, 2, 1]})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.reset_interactions()
    assert not (tmp_path / "saved").exists()
    client.add_point_interaction(middle(ROD), True)
    client.reset_interactions()
    client.add_initial_seg_interaction(inside(SHAPE, BALL).astype(np.uint8))
    client.add_point_interaction([0, 0, 0], True)
    client.close()  # what was done last is saved all the same
    until(lambda: len(list((tmp_path / "saved").glob("*/prompts.json"))) == 2)
    until(lambda: "points" in sorted((tmp_path / "saved").glob("*/prompts.json"))[1].read_text())
    first, second = sorted((tmp_path / "saved").iterdir())
    saved = nibabel.load(first / "segmentation.nii.gz")
    assert saved.header.get_zooms() == (1, 2, 3)
    assert np.array_equal(np.asarray(saved.dataobj).T, inside(SHAPE, ROD))
    assert json.loads((first / "prompts.json").read_text())["image"]["organ"]["points"] == [[*middle(ROD), 1]]
    prompts = json.loads((second / "prompts.json").read_text())["image"]["organ"]
    assert prompts == {"points": [[0, 0, 0, 1]], "mask": "initial_mask.nii.gz"}
    assert np.array_equal(np.asarray(nibabel.load(second / prompts["mask"]).dataobj).T, inside(SHAPE, BALL))
    assert np.asarray(nibabel.load(second / "segmentation.nii.gz").dataobj).sum() == inside(SHAPE, BALL).sum() + 1


def test_a_slow_disk_loses_nothing(serve, connect, tmp_path, monkeypatch):
    write = autosave.write_result

    def slowly(*what):
        time.sleep(0.5)
        write(*what)

    monkeypatch.setattr(autosave, "write_result", slowly)
    client = connect(serve(save_to=tmp_path))
    client.set_image(bright((1, *SHAPE), ((0, 1), *ROD), ((0, 1), *BALL)), {"spacing": [1, 1, 1]})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.reset_interactions()
    for last in (ROD, BALL):
        client.add_point_interaction([0, 0, 0], False)
        client.add_point_interaction(middle(last), True)
        client.reset_interactions()
    client.close()

    def saved():
        found = [json.loads(file.read_text())["image"]["organ"] for file in sorted(tmp_path.glob("*/prompts.json"))]
        return [prompts["points"] for prompts in found]

    expected = [[[0, 0, 0, 0], [*middle(last), 1]] for last in (ROD, BALL)]
    until(lambda: saved() == expected)
