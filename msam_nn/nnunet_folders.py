"""Look-ups in nnU-Net's three folders; what is missing is told in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.utilities.crossval_split import generate_crossval_split
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from msam_nn.errors import UserError
from msam_nn.folders import new_file

N_FOLDS = 5


@dataclass(frozen=True)
class Case:
    """The raw files of a labelled case: one image a channel, and its label map."""

    images: list[Path]
    label: Path


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """Read a JSON file of nnU-Net's.

    Raises:
        UserError: if it is not there, ending in ``mend``, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}. {mend}") from error
    except ValueError as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error


def channel_names(dataset_json: dict) -> list[str]:
    """Of the channels in order; data sets of older versions of nnU-Net call them ``modality``."""
    channels = dataset_json.get("channel_names") or dataset_json["modality"]
    return [str(channels[key]) for key in sorted(channels, key=int)]


def dataset_name(dataset: str | int, folders: Sequence = (nnUNet_raw, nnUNet_preprocessed, nnUNet_results)) -> str:
    """``DatasetNNN_Name`` for an ID or a name.

    Arguments:
        folders: those of nnU-Net's to look in.

    Raises:
        UserError: if one of their variables is not set, or the data set is in none of them or the ID has several names.
    """
    for folder in folders:
        if not folder.get():
            raise UserError(f"{folder.env_var_name} is not set: export {folder.env_var_name}=/your/folder.")
    there = {path.name for folder in folders for path in Path(folder).glob("Dataset*_*") if path.is_dir()}
    number = str(dataset)
    found = {name for name in there if name == number}
    if number.isdigit():
        found = {name for name in there if name.startswith(f"Dataset{int(number):03d}_")}
    where = " and ".join(f.env_var_name for f in folders) if len(folders) < 3 else "nnU-Net's folders"
    if len(found) > 1:
        raise UserError(f"There is more than one data set {dataset} in {where}: {', '.join(sorted(found))}.")
    if not found:
        raise UserError(f"There is no data set {dataset} in {where}. Looked in {', '.join(map(str, folders))}.")
    return found.pop()


def model_folder(dataset: str, trainer: str, plans: str, configuration: str, folds: Iterable[int] = ()) -> Path:
    """``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``.

    Arguments:
        dataset: as :func:`dataset_name` returns it.
        folds: those that have to be trained.

    Raises:
        UserError: if a fold has no final checkpoint.
    """
    model = Path(nnUNet_results, dataset, f"{trainer}__{plans}__{configuration}")
    for fold in folds:
        if not (model / f"fold_{fold}" / "checkpoint_final.pth").is_file():
            raise UserError(f"{model} has no finished fold {fold}: train it, or name other folds with -f.")
    return model


def split(dataset: str, fold: int) -> dict[str, list[str]]:
    """Cases to ``train`` and ``val`` in a fold.

    Raises:
        UserError: if nnU-Net's ``splits_final.json`` lacks the fold.
    """
    splits_file = Path(nnUNet_preprocessed, dataset, "splits_final.json")
    splits = load_json(str(splits_file)) if splits_file.is_file() else []
    if not 0 <= fold < len(splits):
        raise UserError(f"{splits_file} has no fold {fold}.")
    return splits[fold]


def write_splits(dataset: str) -> None:
    """Write the five folds that nnU-Net's first training of a preprocessed data set would write, unless they are there
    or cannot be made of so few cases."""
    folder = Path(nnUNet_preprocessed, dataset)
    splits_file = folder / "splits_final.json"
    if splits_file.is_file():
        return
    ending = load_json(str(folder / "dataset.json"))["file_ending"]
    cases = sorted(file.name.removesuffix(ending) for file in (folder / "gt_segmentations").glob(f"*{ending}"))
    if len(cases) >= N_FOLDS:
        with new_file(splits_file) as partial:
            save_json(generate_crossval_split(cases, seed=12345, n_splits=N_FOLDS), str(partial))


@lru_cache(maxsize=4)
def labelled_cases(dataset: str) -> dict[str, Case]:
    """All cases of the raw data set that come with labels (``imagesTr``, or nnU-Net's ``dataset`` entry).

    Raises:
        UserError: if there is no raw data set.
    """
    raw = Path(nnUNet_raw, dataset)
    if not (raw / "dataset.json").is_file():
        raise UserError(f"There is no raw data set {raw}: its images and labels are needed here.")
    found = get_filenames_of_train_images_and_targets(str(raw))
    return {str(case): Case([Path(f) for f in v["images"]], Path(v["label"])) for case, v in found.items()}


def validation_cases(dataset: str, fold: int) -> dict[str, Case]:
    """The raw files of a fold's validation cases.

    Raises:
        UserError: if the fold or a raw case is missing.
    """
    names, cases = split(dataset, fold)["val"], labelled_cases(dataset)
    missing = sorted(set(names) - set(cases))
    if missing:
        raise UserError(f"The raw data set {dataset} lacks validation cases of fold {fold}: {', '.join(missing)}.")
    return {case: cases[case] for case in names}
