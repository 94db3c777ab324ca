"""Image and mask files that readers take without a word although they are broken."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import nibabel
import numpy as np

from msam_nn.errors import UserError, first_line

NIFTI = (".nii", ".nii.gz")
CHUNK = 1 << 24


def insist_on_sound_images(files: Sequence[Path], n_channels: int) -> None:
    """Check that a case has all files, that each is a 3D image, and :func:`insist_on_sound_file`.

    Arguments:
        files: one per channel of a case.
        n_channels: of the model.

    Raises:
        UserError: naming the file, and what to do.
    """
    if len(files) != n_channels:
        raise UserError(
            f"the case has {len(files)} channel(s) and the model takes {n_channels}: name them _0000, _0001, ... in "
            f"the order of channel_names in dataset.json."
        )
    for file in map(Path, files):
        insist_on_sound_file(file)
        shape = nibabel.load(file).shape if file.name.endswith(NIFTI) else (1, 1, 1)
        if len([n for n in shape[3:] if n > 1]) or len(shape) < 3:
            raise UserError(f"{file} has the shape {shape} and is no 3D image: store each channel or time in a file.")


def insist_on_sound_file(file: Path) -> None:
    """Check what readers pass over: a file that ends early (read as if the rest were zero), voxels that are not numbers
    (read as zero). Anything but NIfTI is only checked to be there.

    Raises:
        UserError: naming the file, and what to do.
    """
    if not file.is_file():
        raise UserError(f"there is no file {file}.")
    if not file.name.endswith(NIFTI):
        return
    try:
        image = nibabel.load(file)
        shape, item = image.shape, image.header.get_data_dtype().itemsize
        needed = int(image.dataobj.offset) + prod(shape) * item
        size = _decompressed_size(file)
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(
            f"{file} is damaged or no NIfTI and cannot be read ({first_line(error).rstrip('.')}): copy or export it "
            f"again."
        ) from error
    if size < needed:
        raise UserError(f"{file} ends after {size:,} of {needed:,} bytes: copy or export it again.")
    if image.get_data_dtype().kind == "f" and not np.isfinite(np.asanyarray(image.dataobj)).all():
        raise UserError(f"{file} has NaN or infinite voxels: replace them by the value of the background.")


def _decompressed_size(file: Path) -> int:
    if not file.name.endswith(".gz"):
        return file.stat().st_size
    with gzip.open(file) as stream:  # raises where the file is cut or its checksum is wrong
        return sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK), b""))
