"""Prompts that ``benchmarks/accuracy/prompts.py`` draws, by hand."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"))

from prompts import KINDS, acts, middle_line, moved

SHAPE = (10, 12, 14)


class Asked:
    """An image that remembers what it was asked."""

    def __init__(self):
        self.prompts = []

    def add_points(self, clicks):
        self.prompts.append(("point", *[click.voxel for click in clicks]))

    def add_box(self, class_index, box, through=None):
        self.prompts.append(("box", box, through))

    def add_drawing(self, class_index, box, drawn, positive, through):
        self.prompts.append(("drawing", box, drawn.tolist()))


def test_a_line_runs_along_the_longest_edge_in_the_middle():
    section = np.array([[[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]], bool)
    assert middle_line(section).astype(int).tolist() == [[[1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]]


def test_a_moved_box_stays_in_the_image_and_is_never_empty():
    generator = np.random.default_rng(0)
    for _ in range(100):
        box = moved(((0, 10), (3, 4), (2, 12)), SHAPE, generator)
        assert all(0 <= lower < upper <= n for (lower, upper), n in zip(box, SHAPE, strict=True))
        assert abs(box[2][0] - 2) <= 1 and abs(box[2][1] - 12) <= 1


def test_every_kind_of_prompt_for_an_object():
    """Three slices, the middle one larger: it is drawn in across the first axis."""
    piece = np.zeros((3, 3, 5), bool)
    piece[:, 1, 1:4] = piece[1] = True
    asked, kinds = Asked(), []
    for kind, act in acts(piece, ((4, 7), (5, 8), (6, 11)), SHAPE, (1, 1, 1), np.random.default_rng(0)):
        kinds.append(kind)
        act(asked, 0)
    given = dict(zip(kinds, asked.prompts, strict=True))
    assert {kind.rstrip(" 012") for kind in kinds} == set(KINDS) and len(kinds) == 3 + 3 * 3
    assert given["point"] == ("point", (5, 6, 8)) and given["box"] == ("box", ((4, 7), (5, 8), (6, 11)), None)
    assert given["flat box 0"] == ("box", ((5, 6), (5, 8), (6, 11)), 0)
    assert given["lasso 0"] == ("drawing", ((5, 6), (5, 8), (6, 11)), [[[True] * 5] * 3])
    assert given["scribble 0"][2] == [[[False] * 5, [True] * 5, [False] * 5]]
    assert given["flat box 2"][1][2] == (7, 8) and given["flat box 2"][2] == 2
