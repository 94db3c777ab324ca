"""The orders of axes in JavaScript, against nibabel's in Python."""

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest

import msam_nn.server.page

pytestmark = pytest.mark.browser

STATIC = Path(msam_nn.server.page.__file__).parent / "static"
SHAPE = (2, 3, 4)
"""Of the file's array ``(z, y, x)``."""

ORIENTATIONS = [
    "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))
    for axes in permutations(("RL", "AP", "SI"))
    for signs in product((0, 1), repeat=3)
]


@pytest.fixture
def evaluate(page):
    """Evaluate an expression in which ``voxels`` is the module."""
    page.route("http://page.test/**", lambda route: _serve(route))
    page.goto("http://page.test/")
    return lambda expression, argument=None: page.evaluate(
        f"async (given) => {{ const voxels = await import('/voxels.js'); return {expression}; }}", argument
    )


def _serve(route):
    file = STATIC / route.request.url.rsplit("/", 1)[1]
    if file.is_file():
        route.fulfill(path=file, content_type="text/javascript")
    else:
        route.fulfill(body="", content_type="text/html")


def to_ras(array: np.ndarray, codes: str) -> tuple[np.ndarray, list[int]]:
    """An array ``(z, y, x)`` of a file with these axis codes in the viewer's order, and NiiVue's ``permRAS``."""
    orientation = nibabel.orientations.axcodes2ornt(codes)
    ras = nibabel.orientations.apply_orientation(array.T, orientation)
    permutation = [0, 0, 0]
    for axis, (target, sign) in enumerate(orientation):
        permutation[int(target)] = int(sign) * (axis + 1)
    return ras, permutation


def test_every_orientation(evaluate):
    array = np.arange(24).reshape(SHAPE)
    cases = []
    for codes in ORIENTATIONS:
        ras, permutation = to_ras(array, codes)
        cases.append({"perm": permutation, "shape": ras.shape, "values": ras.ravel(order="F").tolist()})
    results = evaluate(
        """given.map(({ perm, shape, values }) => {
          const grid = new voxels.Grid(perm, shape, [1, 1, 1]);
          const all = values.map((_, i) => [i % shape[0], Math.floor(i / shape[0]) % shape[1], Math.floor(i / shape[0] / shape[1])]);
          const volume = new Uint8Array(24), counts = new Float64Array(256);
          grid.write(volume, [[0, 2], [0, 3], [0, 4]], values.map((_, i) => i), counts);
          const part = new Uint8Array(24);
          grid.write(part, [[1, 2], [0, 2], [1, 4]], [1, 2, 3, 4, 5, 6], counts);
          return {
            shape: grid.shape,
            voxels: all.map((ras) => grid.toVoxel(ras)),
            back: all.map((ras) => grid.toRas(grid.toVoxel(ras))),
            all,
            volume: [...volume],
            part: [...part],
          };
        })""",  # noqa: E501
        cases,
    )
    block = np.zeros(SHAPE, int)
    block[1:2, 0:2, 1:4] = np.arange(1, 7).reshape(1, 2, 3)
    assert len(results) == 48
    for codes, case, result in zip(ORIENTATIONS, cases, results, strict=True):
        assert tuple(result["shape"]) == SHAPE, codes
        assert [array[tuple(v)] for v in result["voxels"]] == case["values"], codes
        assert result["back"] == result["all"], codes
        assert result["volume"] == case["values"], codes
        assert result["part"] == to_ras(block, codes)[0].ravel(order="F").tolist(), codes


def test_boxes_keep_their_corners(evaluate):
    for codes in ("RAS", "LPS", "IAR", "PLI"):
        array = np.zeros(SHAPE, bool)
        array[1:2, 0:3, 1:3] = True
        ras, permutation = to_ras(array, codes)
        corners = np.argwhere(ras)
        given = [permutation, ras.shape, corners.min(0).tolist(), corners.max(0).tolist()]
        box = evaluate("new voxels.Grid(given[0], given[1], [1, 1, 1]).toBox(given[2], given[3])", given)
        assert box == [[1, 2], [0, 3], [1, 3]]


def test_strokes(evaluate):
    line = evaluate("voxels.stroke([[1, 1], [4, 1]], 0.5, [10, 10])")
    assert sorted(line) == [[1, 1], [2, 1], [3, 1], [4, 1]]
    dab = evaluate("voxels.stroke([[0, 0]], 1.5, [10, 10])")
    assert sorted(dab) == [[0, 0], [0, 1], [1, 0], [1, 1]], "what leaves the image is left out"


def test_lassos(evaluate):
    square = evaluate("voxels.fill([[0.5, 0.5], [4.5, 0.5], [4.5, 3.5], [0.5, 3.5]], [10, 10])")
    assert sorted(square) == [[u, v] for u in (1, 2, 3, 4) for v in (1, 2, 3)]
    triangle = evaluate("voxels.fill([[0.5, 0.5], [6.2, 0.5], [0.5, 6.2]], [4, 10])")
    assert sorted(triangle) == [[u, v] for u in (1, 2, 3) for v in range(1, 7 - u)], "cut at the image's width of 4"
    assert evaluate("voxels.fill([[1.2, 1.2], [1.4, 1.2], [1.3, 1.4]], [10, 10])") == [], "between all centres"


def test_packed_bits(evaluate):
    packed = evaluate("(({ box, bits }) => [box, [...bits]])(voxels.pack([[4, 7, 1], [5, 7, 3], [5, 7, 5]]))")
    assert packed == [[[4, 6], [7, 8], [1, 6]], [0b10000001, 0b01000000]]
