"""The JSON file of prompts: read, check, write. ``docs/prompts.md`` describes it for users."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msam_nn.errors import UserError
from msam_nn.folders import new_file

SPACES = ("voxel", "world")
KINDS = ("points", "boxes", "mask")


@dataclass(frozen=True)
class ClassPrompts:
    """Prompts on one class of one case, in the units of the file.

    points: ``(a, b, c, label)``, label 1 inside and 0 outside; ``(z, y, x)`` voxels or ``(x, y, z)`` mm.
    boxes: ``(a0, a1, b0, b1, c0, c1)`` in the same order of axes. In voxels the upper bounds are excluded.
    mask: a file in which the class is everything that is not 0.
    """

    points: tuple[tuple[float, ...], ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    mask: Path | None = None


@dataclass(frozen=True)
class PromptFile:
    """Prompts of many cases: case to class (label number or name, as written) to prompts.

    space: ``"voxel"``: indices ``(z, y, x)`` of the input image as SimpleITK reads it;
        ``"world"``: LPS mm ``(x, y, z)``, as SimpleITK gives them.
    """

    cases: dict[str, dict[str, ClassPrompts]]
    space: str = "voxel"


def read_prompts(path: str | Path) -> PromptFile:
    """Read a prompt file; paths of masks in it are relative to its folder.

    Raises:
        UserError: if it is missing or malformed: what, where, and what to do.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise UserError(f"The prompts {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The prompts {path} are not a JSON text.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON: {error.msg} in line {error.lineno}.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold {{"case": {{"class": {{"points": …}}}}}}, not {_kind(content)}.')
    space = content.pop("space", "voxel")
    if space not in SPACES:
        raise UserError(f'{path}: "space" must be "voxel" or "world", not {space!r}.')
    cases = {}
    for case, classes in content.items():
        if not isinstance(classes, dict):
            raise UserError(f"{path}, {case}: expected classes with their prompts, found {_kind(classes)}.")
        cases[case] = {name: _class_prompts(p, space, path, f"{path}, {case}, class {name}") for name, p in classes.items()}  # fmt: skip  # noqa: E501
    return PromptFile(cases, space)


def write_prompts(path: str | Path, prompts: PromptFile) -> None:
    """Write a prompt file, a line per point and box; masks inside its folder by their relative path."""
    path = Path(path)
    try:
        with new_file(path) as partial:
            partial.write_text(prompts_text(prompts, path.parent), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The prompts {path} cannot be written: {error.strerror}.") from error


def prompts_text(prompts: PromptFile, folder: Path) -> str:
    """The text of a prompt file in a folder."""
    content: dict[str, Any] = {"space": prompts.space}
    for case, classes in prompts.cases.items():
        content[case] = {}
        for name, given in classes.items():
            mask = given.mask and os.path.relpath(given.mask, folder)
            content[case][name] = {k: v for k, v in zip(KINDS, (given.points, given.boxes, mask), strict=True) if v}
    text = json.dumps(content, indent=2)
    text = re.sub(r"\[[^\[\]]*\]", lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), text)  # fmt: skip  # noqa: E501
    return text + "\n"


def _class_prompts(content: Any, space: str, path: Path, where: str) -> ClassPrompts:
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected an object with points, boxes or a mask, found {_kind(content)}.")
    unknown = sorted(set(content) - set(KINDS))
    if unknown:
        raise UserError(f"{where}: unknown key {json.dumps(unknown[0])}; use points, boxes or mask.")
    points = _rows(content.get("points", []), 4, space, f"{where}, points")
    for index, (*_, label) in enumerate(points):
        if label not in (0, 1):
            raise UserError(f"{where}, points {index}: the label is 1 (inside) or 0 (outside), not {label:g}.")
    boxes = _rows(content.get("boxes", []), 6, space, f"{where}, boxes")
    for index, box in enumerate(boxes):
        if not all(lower < upper for lower, upper in zip(box[::2], box[1::2], strict=True)):
            raise UserError(f"{where}, boxes {index}: each lower bound must be below its upper bound, got {list(box)}.")
    mask = content.get("mask")
    if mask is not None and not isinstance(mask, str):
        raise UserError(f"{where}, mask: expected the name of a file, found {_kind(mask)}.")
    if not (points or boxes or mask):
        raise UserError(f"{where}: there is no prompt; add points, boxes or a mask, or leave the class out.")
    return ClassPrompts(points, boxes, path.parent / mask if mask else None)


def _rows(content: Any, length: int, space: str, where: str) -> tuple[tuple[float, ...], ...]:
    if not isinstance(content, list):
        raise UserError(f"{where}: expected a list of lists of {length} numbers, found {_kind(content)}.")
    for index, row in enumerate(content):
        if not isinstance(row, list) or len(row) != length or not all(_is_number(v) for v in row):
            raise UserError(f"{where} {index}: expected {length} numbers, found {json.dumps(row)[:60]}.")
        if space == "voxel" and any(v != int(v) for v in row):
            raise UserError(
                f'{where} {index}: voxel indices are whole numbers, found {row}; for mm write "space": "world".'
            )
    return tuple(tuple(int(v) if v == int(v) else float(v) for v in row) for row in content)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" stands twice in the same place; merge the two.')
    return content


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
