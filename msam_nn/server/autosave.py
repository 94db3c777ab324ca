"""Masks and prompts in a folder, after every change."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from msam_nn.errors import UserError
from msam_nn.folders import new_file
from msam_nn.inference.prompt_file import write_prompts
from msam_nn.server.record import INITIAL_MASK, SessionResult
from msam_nn.server.transport.leases import Lease


class Autosave:
    """A folder per object: ``segmentation.nii.gz``, ``prompts.json``, and the mask that the session started from.

    An object ends where all prompts are forgotten: viewers reset a session to go on with the next one. What is
    written is what the session was when it changed, however soon it is reset or closed after that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: dict[Path, SessionResult] = {}
        self._saving: dict[Path, asyncio.Task] = {}

    def soon(self, lease: Lease, result: SessionResult) -> None:
        """Save what a session is now; while an older state of the object is being saved, only the newest waits."""
        folder = self.folder / _folder_name(lease, result)
        self._waiting[folder] = result
        if folder not in self._saving:
            self._saving[folder] = asyncio.get_running_loop().create_task(self._save(folder))

    async def close(self) -> None:
        """Wait for what is being saved."""
        await asyncio.gather(*self._saving.values())

    async def _save(self, folder: Path) -> None:
        try:
            while folder in self._waiting:
                await asyncio.to_thread(write_result, folder, self._waiting.pop(folder))
        except (UserError, OSError) as error:
            print(f"msam serve: a session was not saved: {error}", file=sys.stderr)
        finally:
            self._waiting.pop(folder, None)
            del self._saving[folder]


def write_result(folder: Path, result: SessionResult) -> None:
    """Write a session's result, each file whole or not at all.

    Raises:
        OSError, UserError: if that is impossible.
    """
    files = {"segmentation.nii.gz": result.labels}
    if result.initial_mask is not None:
        files[INITIAL_MASK] = result.initial_mask.astype(np.uint8)
    for name, labels in files.items():
        with new_file(folder / name) as partial:
            partial.write_bytes(result.image.nifti(labels))
    cases = {
        case: {name: p if p.mask is None else replace(p, mask=folder / p.mask) for name, p in classes.items()}
        for case, classes in result.prompts.cases.items()
    }
    write_prompts(folder / "prompts.json", replace(result.prompts, cases=cases))


def _folder_name(lease: Lease, result: SessionResult) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", result.image.name)[:60]
    began = time.strftime("%Y-%m-%d_%H%M%S", time.localtime(result.began))
    return f"{began}_{int(1000 * (result.began % 1)):03d}_{name}_{lease.token[:6]}"
