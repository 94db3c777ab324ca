import base64

import pytest
from pydantic import TypeAdapter, ValidationError

from msam_nn.errors import UserError
from msam_nn.server.page.prompts import Prompt

PROMPT = TypeAdapter(Prompt)


class Session:
    """Remembers what it is asked."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def asked(**content):
    session = Session()
    PROMPT.validate_python({"class": 0, "positive": True, **content}).add_to(session)
    return session.calls


def test_points_and_boxes():
    assert asked(kind="point", voxel=[3, 2, 1]) == [("add_point", (3, 2, 1), True)]
    assert asked(kind="point", voxel=[3, 2, 1], positive=False) == [("add_point", (3, 2, 1), False)]
    box = ((0, 2), (1, 3), (2, 5))
    assert asked(kind="box", box=box) == [("add_box", box, True)]


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_drawings_are_a_bit_a_voxel_first_voxel_highest(kind):
    bits = base64.b64encode(bytes([0b10000001, 0b01000000])).decode()
    [(name, box, drawn, positive)] = asked(kind=kind, box=[[4, 6], [0, 1], [1, 6]], mask=bits, positive=False)
    assert (name, box, positive) == (f"add_{kind}", ((4, 6), (0, 1), (1, 6)), False)
    assert drawn.dtype == bool
    assert drawn.tolist() == [[[True, False, False, False, False]], [[False, False, True, False, True]]]


@pytest.mark.parametrize(
    "content",
    [
        {"box": [[0, 2], [0, 2], [0, 2]], "mask": ""},
        {"box": [[0, 2], [0, 2], [0, 2]], "mask": base64.b64encode(b"ab").decode()},
        {"box": [[0, 2], [0, 2], [0, 2]], "mask": "no base64"},
        {"box": [[2, 0], [0, 2], [0, 2]], "mask": "AA=="},
        {"box": [[-(2**31), 2**31 - 1]] * 3, "mask": "AA=="},
    ],
)
def test_drawings_that_do_not_fit_their_box_are_refused_before_memory_is_taken(content):
    with pytest.raises(UserError, match="drawing"):
        asked(kind="scribble", **content)


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "point", "voxel": [1, 2]},
        {"kind": "point", "voxel": [1, 2, 1e300]},
        {"kind": "point", "voxel": [1, 2, 3], "class": -1},
        {"kind": "box", "box": [[0, 1], [0, 1]]},
        {"kind": "spell", "voxel": [1, 2, 3]},
        {"voxel": [1, 2, 3]},
    ],
)
def test_anything_else_is_no_prompt(content):
    with pytest.raises(ValidationError):
        asked(**content)
