"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msam_nn.errors import UserError


@contextmanager
def new_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that becomes ``folder`` when the block ends well, else vanishes.

    A link stays one: what it leads to is made or replaced.

    Arguments:
        force: replace an existing ``folder``; it stays until the new one is complete.

    Raises:
        UserError: if ``folder`` exists and ``force`` is off, is a file, or is one that the command runs in.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file, and a folder is to be written: choose another name, or remove the file.")
    if folder.exists() and not force:
        raise UserError(f"{folder} exists already: choose another folder, or pass force (--force) to replace it.")
    place = folder.resolve()
    if Path.cwd().is_relative_to(place):
        raise UserError(f"{folder} is, or holds, the folder this command runs in: choose another one.")
    unfinished = place.with_name(f".{_unique(place)}.unfinished")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        _move_into_place(unfinished, place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to, which becomes ``path`` when the block ends well, else vanishes."""
    partial = path.with_name(f"{_unique(path)}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _unique(path: Path) -> str:
    """A name that nobody else takes: process IDs repeat, in containers on shared storage even at the same time."""
    return f"{path.name}.{secrets.token_hex(4)}"


def _move_into_place(unfinished: Path, folder: Path) -> None:
    """Rename, keeping what was there until the new folder stands."""
    replaced = unfinished.with_suffix(".replaced")
    if folder.exists():
        folder.rename(replaced)
    try:
        unfinished.rename(folder)
    except BaseException:
        if replaced.exists():
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
