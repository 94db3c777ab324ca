"""The conversion that all data sets share: find, check, write, declare, report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

from dataset_conversion.description import Dataset
from dataset_conversion.discovery import find_cases
from dataset_conversion.storing import FILE_ENDING, process_case
from msam_nn.errors import UserError
from msam_nn.folders import new_folder
from msam_nn.workers import map_in_processes


@dataclass(frozen=True)
class Report:
    """What a conversion did: how many cases it wrote, what it skipped and why, and what it noted."""

    folder: Path
    n_training: int
    n_test: int
    skipped: dict[str, str]
    notes: dict[str, tuple[str, ...]]


def convert(
    dataset: Dataset,
    source: Path,
    folder: Path,
    *,
    mask_source: Path | None = None,
    num_workers: int = 1,
    force: bool = False,
) -> Report:
    """Write ``source`` as nnU-Net raw data set ``folder``, all or nothing; broken cases are left out and reported.

    Arguments:
        mask_source: where the masks are, if not below ``source``.
        num_workers: processes that check and write cases; 1 stays in this process.
        force: replace an existing ``folder``.

    Raises:
        UserError: if ``source`` has no sound training case, ``folder`` exists and ``force`` is off, or a process dies.
    """
    for place in (source, mask_source or source):
        if not place.is_dir():
            raise UserError(f"{place} is not a folder: pass the folder with the downloaded and unpacked data.")
    with new_folder(folder, force=force) as unfinished:
        cases, skipped = find_cases(dataset, source, mask_source)
        if not cases and not skipped:
            raise UserError(f"{source} holds none of the expected files ({dataset.layout}).")
        written = unfinished / "source" if dataset.converter else unfinished
        process = partial(process_case, dataset=dataset, folder=written)
        outcomes = map_in_processes(process, cases, num_workers, "--num-workers", desc=dataset.name, unit="case")
        skipped |= {o.name: o.problem for o in outcomes if o.problem}
        if not any(case.mask and not o.problem for case, o in zip(cases, outcomes, strict=True)):
            listed = "; ".join(f"{name}: {problem}" for name, problem in sorted(skipped.items())[:3])
            raise UserError(f"{source} has no sound training case. The first problems: {listed}.")
        if dataset.converter:
            _call_converter(dataset, written, unfinished, num_workers)
        n_training, n_test = (len(list((unfinished / part).glob("*_0000.*"))) for part in ("imagesTr", "imagesTs"))
        _declare(dataset, unfinished, n_training)
        if dataset.splits:
            (unfinished / "splits_final.json").write_text(
                json.dumps(dataset.splits(unfinished / "labelsTr"), indent=4), encoding="utf-8"
            )
    return Report(folder, n_training, n_test, skipped, {o.name: o.notes for o in outcomes if o.notes})


def _call_converter(dataset: Dataset, source: Path, unfinished: Path, num_workers: int) -> None:
    """Let nnU-Net's converter write into an nnU-Net raw folder of its own, and take the data set it made."""
    raw = unfinished / "raw"
    raw.mkdir()
    print("nnU-Net's own converter writes the sound cases ...", flush=True)
    with _nnunet_folders(raw):
        dataset.converter(source, raw, num_workers)
    (made,) = raw.iterdir()
    for part in made.iterdir():
        part.rename(unfinished / part.name)
    shutil.rmtree(raw)
    for leftover in unfinished.iterdir():
        if leftover.name not in ("imagesTr", "labelsTr", "imagesTs", "dataset.json"):
            shutil.rmtree(leftover)


@contextmanager
def _nnunet_folders(folder: Path) -> Iterator[None]:
    """Point nnU-Net's variables to ``folder``; nnU-Net reads them whenever it uses them."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(folder)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _declare(dataset: Dataset, folder: Path, n_training: int) -> None:
    generate_dataset_json(
        str(folder),
        channel_names=dict(enumerate(dataset.channels)),
        labels=dict(dataset.labels),
        num_training_cases=n_training,
        file_ending=FILE_ENDING,
        regions_class_order=dataset.regions_class_order,
        dataset_name=dataset.name,
        reference=dataset.reference,
        license=dataset.licence,
        converted_by="msam_nn, dataset_conversion",
        overwrite_image_reader_writer=dataset.reader,
    )
