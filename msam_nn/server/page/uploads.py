"""The files of a case that a browser sends, kept in memory until they are read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO


class Upload:
    """Files with names, as nnU-Net's readers want them, whose bytes are in memory and on no disk.

    Where the system has no anonymous memory files (other than Linux), they are temporary files.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="msam-upload-")
        self._streams: dict[Path, BinaryIO] = {}

    @property
    def files(self) -> list[Path]:
        """In the order of the channels."""
        return sorted(self._streams)

    def add(self, channel: int, ending: str, content: bytes) -> None:
        """Keep a channel; one that is there is replaced.

        Arguments:
            ending: ``.nii`` or ``.nii.gz``.
        """
        stem = Path(self._folder.name, f"image_{channel:04d}")
        for file in [file for file in self._streams if file.name.startswith(f"{stem.name}.")]:
            self._streams.pop(file).close()
            file.unlink()
        file = stem.with_name(stem.name + ending)
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(file.name)
            file.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
        else:
            descriptor = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
        stream = self._streams[file] = os.fdopen(descriptor, "wb")
        stream.write(content)
        stream.flush()

    def close(self) -> None:
        """Forget everything."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._folder.cleanup()
