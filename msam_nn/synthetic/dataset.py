"""Write phantoms to disk in nnU-Net's raw layout, all or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from tqdm import tqdm

from msam_nn.errors import UserError
from msam_nn.folders import new_folder
from msam_nn.synthetic.anatomy import Triple
from msam_nn.synthetic.phantom import PhantomOptions, generate_case

FILE_ENDING = ".nii.gz"
DESCRIPTION = (
    "Computer-generated abdominal phantoms (CT, optionally PET) with tumours in one organ. No patient data. "
    "For trying out and testing software; results on it say nothing about clinical performance."
)


def case_name(index: int) -> str:
    """``phantom_007`` for case 7."""
    return f"phantom_{index:03d}"


def write_dataset(
    folder: str | Path,
    n_train: int,
    n_test: int,
    options: PhantomOptions | None = None,
    *,
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Write ``n_train`` training and ``n_test`` held-out cases as an nnU-Net raw data set.

    Training cases are numbers ``0 .. n_train-1``; held-out cases follow, their truth (fully annotated, even with an
    ignore label) in ``labelsTs``. Everything is written beside ``folder`` and moved there at the end.

    Arguments:
        folder: the data set's own folder, e.g. ``nnUNet_raw/Dataset900_TumourPhantom``.
        options: defaults to ``PhantomOptions()``.
        force: replace an existing ``folder``.
        progress: show a progress bar.

    Returns:
        ``folder`` as a path.

    Raises:
        UserError: if ``folder`` exists and ``force`` is off, or a number of cases is impossible.
    """
    folder = Path(folder)
    options = options or PhantomOptions()
    if n_train < 1 or n_test < 0:
        raise UserError(f"At least 1 training and 0 held-out cases are needed, not {n_train} and {n_test}.")
    with new_folder(folder, force=force) as unfinished:
        for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
            (unfinished / name).mkdir()
        for index in tqdm(range(n_train + n_test), desc="phantoms", unit="case", disable=not progress):
            if index < n_train:
                _write_case(unfinished / "imagesTr", unfinished / "labelsTr", options, index)
            else:
                complete = replace(options, ignore_label=False)
                _write_case(unfinished / "imagesTs", unfinished / "labelsTs", complete, index)
        generate_dataset_json(
            str(unfinished),
            channel_names={str(i): name for i, name in enumerate(options.channel_names)},
            labels=options.labels,
            num_training_cases=n_train,
            file_ending=FILE_ENDING,
            regions_class_order=options.regions_class_order,
            dataset_name=folder.name,
            description=DESCRIPTION,
            license="CC0 1.0 (public domain)",
            converted_by="msam_nn.synthetic",
            phantom_seed=options.seed,
        )
    return folder


def _write_case(images: Path, labels: Path, options: PhantomOptions, index: int) -> None:
    image, segmentation, spacing = generate_case(options, index)
    name = case_name(index)
    for channel, kind in enumerate(options.channel_names):
        voxels = image[channel].astype(np.int16) if kind == "CT" else image[channel]
        _write_volume(voxels, spacing, images / f"{name}_{channel:04d}{FILE_ENDING}")
    _write_volume(segmentation, spacing, labels / f"{name}{FILE_ENDING}")


def _write_volume(voxels: np.ndarray, spacing: Triple, file: Path) -> None:
    """Write ``(z, y, x)`` voxels; the world's origin is the centre of the volume."""
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing([float(s) for s in spacing[::-1]])
    volume.SetOrigin([-(n - 1) / 2 * s for n, s in zip(volume.GetSize(), volume.GetSpacing(), strict=True)])
    sitk.WriteImage(volume, str(file), useCompression=True)
