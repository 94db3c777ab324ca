"""The files of a case that a browser sends, kept in memory until they are read."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from msam_nn.errors import UserError

GZIP = b"\x1f\x8b"
CHUNK = 1 << 24


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

    def add(self, channel: int, content: bytes, limit: int) -> None:
        """Keep a channel, a NIfTI or a gzipped one, unpacked; one that is there is replaced.

        Arguments:
            limit: bytes it may have unpacked; not much more memory is taken to find out.

        Raises:
            UserError: for a larger or a damaged one.
        """
        file = Path(self._folder.name, f"image_{channel:04d}.nii")
        if file in self._streams:
            self._streams.pop(file).close()
            file.unlink()
        pieces = unpacked(content, limit)
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(file.name)
            file.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
        else:
            descriptor = os.open(file, os.O_CREAT | os.O_WRONLY, 0o600)
        stream = self._streams[file] = os.fdopen(descriptor, "wb")
        stream.writelines(pieces)
        stream.flush()

    def close(self) -> None:
        """Forget everything."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._folder.cleanup()


def unpacked(content: bytes, limit: int) -> list[bytes]:
    """The content in pieces, unpacked if it is gzipped.

    Raises:
        UserError: if it is larger than the limit, or damaged.
    """
    if not content.startswith(GZIP):
        return [content]
    pieces, size = [], 0
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            while piece := stream.read(CHUNK):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise UserError(f"The file has more than {limit >> 20} MiB unpacked, the limit of this server.")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError("The file is damaged: it ends early or is no gzip. Copy or export it again.") from error
    return pieces
