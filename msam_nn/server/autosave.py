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
from msam_nn.server.worker import Refused


class Autosave:
    """A folder per object: ``segmentation.nii.gz``, ``prompts.json``, and the mask that the session started from.

    An object ends where all prompts are forgotten: viewers reset a session to go on with the next one.

    Arguments:
        folder: None saves nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._waiting: set[Lease] = set()
        self._saving: dict[Lease, asyncio.Task] = {}

    def soon(self, lease: Lease) -> None:
        """Save a session; while one is being saved, what follows is saved once, after that."""
        if self.folder is None:
            return
        self._waiting.add(lease)
        if lease not in self._saving:
            self._saving[lease] = asyncio.get_running_loop().create_task(self._save(lease))

    async def close(self) -> None:
        """Wait for what is being saved."""
        await asyncio.gather(*self._saving.values())

    async def _save(self, lease: Lease) -> None:
        try:
            while lease in self._waiting:
                self._waiting.discard(lease)
                result = await lease.result()
                if result is not None:
                    await asyncio.to_thread(write_result, self.folder / _folder_name(lease, result), result)
        except (Refused, UserError, OSError) as error:
            print(f"msam serve: a session was not saved: {error}", file=sys.stderr)
        finally:
            self._waiting.discard(lease)
            del self._saving[lease]


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
