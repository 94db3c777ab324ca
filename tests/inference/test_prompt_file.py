import json

import pytest

from msam_nn.errors import UserError
from msam_nn.inference.prompt_file import ClassPrompts, PromptFile, read_prompts, write_prompts


def read(tmp_path, content):
    path = tmp_path / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_prompts(path)


def test_what_is_written_is_read_again(tmp_path):
    points, boxes = ((1, 2, 3, 1), (4, 5, 6, 0)), ((0, 4, 1, 5, 2, 6),)
    prompts = PromptFile({"a": {"1": ClassPrompts(points, boxes, tmp_path / "masks" / "m.nii.gz")}}, "voxel")
    write_prompts(tmp_path / "prompts.json", prompts)
    assert read_prompts(tmp_path / "prompts.json") == prompts
    text = (tmp_path / "prompts.json").read_text(encoding="utf-8")
    assert "[1, 2, 3, 1]," in text and '"masks/m.nii.gz"' in text
    assert [f.name for f in tmp_path.iterdir()] == ["prompts.json"]


def test_space_and_defaults(tmp_path):
    voxel = read(tmp_path, {"a": {"tumour": {"points": [[1, 2, 3, 0]]}}, "b": {}})
    assert voxel == PromptFile({"a": {"tumour": ClassPrompts(((1, 2, 3, 0),))}, "b": {}}, "voxel")
    world = read(tmp_path, {"space": "world", "a": {"1": {"points": [[-1.5, 2, 3e1, 1]]}}})
    assert world == PromptFile({"a": {"1": ClassPrompts(((-1.5, 2, 30, 1),))}}, "world")


def of(**prompts):
    return {"case_7": {"2": prompts}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": ', "not valid JSON: .* line 1"),
        ('{"a": {"1": {}}, "a": {}}', '"a" stands twice'),
        ("[1]", "not a list"),
        ({"space": "mm"}, '"voxel" or "world", not \'mm\''),
        ({"case_7": [1]}, "case_7: expected classes.*found a list"),
        ({"case_7": {"2": [[1, 2, 3, 1]]}}, "case_7, class 2: expected an object"),
        (of(point=[]), 'case_7, class 2: unknown key "point"; use points, boxes or mask'),
        (of(), "case_7, class 2: there is no prompt"),
        (of(points=[], mask=None), "case_7, class 2: there is no prompt"),
        (of(points=[1, 2, 3, 1]), "case_7, class 2, points 0: expected 4 numbers, found 1"),
        (of(points={}), "points: expected a list of lists of 4 numbers, found an object"),
        (of(points=[[1, 2, 3]]), "points 0: expected 4 numbers"),
        (of(points=[[1, 2, 3, 1], [1, 2, "3", 1]]), "points 1: expected 4 numbers"),
        (of(points=[[1, 2, True, 1]]), "points 0: expected 4 numbers"),
        ('{"a": {"1": {"points": [[NaN, 0, 0, 1]]}}}', "points 0: expected 4 numbers"),
        (of(points=[[1, 2, 3, -1]]), "label is 1 .* not -1"),
        (of(points=[[1, 2.5, 3, 1]]), "whole numbers"),
        (of(boxes=[[0, 1, 0, 1]]), "boxes 0: expected 6 numbers"),
        (of(boxes=[[0, 4, 3, 3, 0, 4]]), "boxes 0: each lower bound"),
        (of(mask=1), "mask: expected the name of a file"),
    ],
)
def test_malformed_files_get_one_sentence(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, content)
    assert str(tmp_path) in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "none.json")
    (tmp_path / "image.json").write_bytes(b"\x1f\x8b\xff")
    with pytest.raises(UserError, match="not a JSON text"):
        read_prompts(tmp_path / "image.json")
