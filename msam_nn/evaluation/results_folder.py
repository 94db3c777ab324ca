"""Validation predictions in nnU-Net's results folders, checked to belong to one data set and its splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results

from msam_nn.errors import UserError
from msam_nn.image_files import insist_on_sound_file
from msam_nn.nnunet_folders import split


@dataclass(frozen=True)
class GroundTruth:
    """What predictions of a data set are measured against.

    Arguments:
        folder: with the label maps.
        classes: name -> its label values, several for a region; neither background nor the ignore label.
        elsewhere: case -> its label map, of those that are not in the folder.
    """

    dataset: str
    folder: Path
    classes: dict[str, tuple[int, ...]]
    ignore_label: int | None
    file_ending: str
    reader: type[BaseReaderWriter]
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def file(self, case: str) -> Path:
        return self.elsewhere.get(case, self.folder / (case + self.file_ending))

    def read(self, file: Path) -> tuple[np.ndarray, tuple[float, ...]]:
        """Label map ``(z, y, x)`` and spacing in mm.

        Raises:
            UserError: if the file is not whole.
        """
        insist_on_sound_file(file)
        labels, properties = self.reader().read_seg(str(file))
        return labels[0], tuple(properties["spacing"])


def open_ground_truth(dataset: str, cases: Sequence[str]) -> GroundTruth:
    """The label maps that nnU-Net's preprocessing kept.

    Raises:
        UserError: if the data set is not preprocessed, or the truth of a case is missing.
    """
    folder = Path(nnUNet_preprocessed, dataset, "gt_segmentations")
    description = folder.with_name("dataset.json")
    if not description.is_file():
        raise UserError(f"There is no {description}: run nnUNetv2_plan_and_preprocess for this data set.")
    dataset_json = load_json(str(description))
    ending = dataset_json["file_ending"]
    missing = [case for case in cases if not (folder / (case + ending)).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(sorted(missing))}: restore what is missing.")
    return _ground_truth(dataset, folder, dataset_json, folder / (cases[0] + ending))


def open_raw_truth(dataset: str, labels: Mapping[str, Path]) -> GroundTruth:
    """The label maps of a raw data set, which need no preprocessing.

    Arguments:
        labels: case -> its label map.
    """
    raw = Path(nnUNet_raw, dataset)
    dataset_json = load_json(str(raw / "dataset.json"))
    return _ground_truth(dataset, raw / "labelsTr", dataset_json, next(iter(labels.values())), labels)


def _ground_truth(
    dataset: str, folder: Path, dataset_json: dict, example: Path, elsewhere: Mapping[str, Path] | None = None
) -> GroundTruth:
    return GroundTruth(
        dataset,
        folder,
        class_values(dataset_json),
        dataset_json["labels"].get("ignore"),
        dataset_json["file_ending"],
        determine_reader_writer_from_dataset_json(dataset_json, str(example), verbose=False),
        dict(elsewhere or {}),
    )


def class_values(dataset_json: dict) -> dict[str, tuple[int, ...]]:
    """Name -> label values of every class or region that nnU-Net evaluates."""
    values = {name: tuple(int(v) for v in np.atleast_1d(value)) for name, value in dataset_json["labels"].items()}
    return {name: value for name, value in values.items() if name != "ignore" and value != (0,)}


@dataclass(frozen=True)
class ResultsFolder:
    """``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``.

    Arguments:
        name: of the method in tables.
    """

    path: Path
    name: str

    def prediction(self, fold: int, case: str, file_ending: str) -> Path:
        return self.path / f"fold_{fold}" / "validation" / (case + file_ending)


def validation_splits(dataset: str, folds: Sequence[int]) -> dict[int, list[str]]:
    """Fold -> its validation cases.

    Raises:
        UserError: if a fold is asked for twice, is not in the splits, or has no cases to train on or to validate.
    """
    if len(set(folds)) < len(folds):
        raise UserError(f"-f names a fold twice: {' '.join(map(str, folds))}.")
    splits = {fold: split(dataset, fold) for fold in folds}
    for fold, parts in splits.items():
        for part in ("train", "val"):
            if not parts[part]:
                raise UserError(f"Fold {fold} of {dataset} has no cases under {part} in splits_final.json.")
    return {fold: sorted(parts["val"]) for fold, parts in splits.items()}


def open_results(truth: GroundTruth, identifier: str, splits: dict[int, list[str]]) -> ResultsFolder:
    """Check that a results folder holds exactly the validation cases of the folds.

    Arguments:
        identifier: ``TRAINER__PLANS__CONFIGURATION``, or the path of such a folder.
        splits: fold -> its validation cases.

    Raises:
        UserError: if the folder is missing, of another data set, of other classes, or not complete.
    """
    path = Path(identifier) if os.sep in identifier else Path(nnUNet_results, truth.dataset, identifier)
    if len(path.name.split("__")) != 3:
        raise UserError(f"{identifier} is no results folder: write TRAINER__PLANS__CONFIGURATION.")
    if not (path / "dataset.json").is_file() or not (path / "plans.json").is_file():
        raise UserError(f"There are no results {path}: train and validate it, or check the spelling.")
    of = load_json(str(path / "plans.json"))["dataset_name"]
    if of != truth.dataset:
        raise UserError(f"{path} holds results of {of}, not of {truth.dataset}.")
    if class_values(load_json(str(path / "dataset.json"))) != truth.classes:
        raise UserError(f"{path} was trained with other classes than {truth.dataset} has now.")
    results = ResultsFolder(path, path.name)
    for fold, cases in splits.items():
        _check_fold(results, fold, cases, truth.file_ending)
    return results


def told_apart(results: Sequence[ResultsFolder]) -> list[ResultsFolder]:
    """The same folders; where names are equal, with the part of the paths that differs in front: ``seed_1/NAME``."""
    parents = {r: Path(os.path.abspath(r.path)).parts[:-1] for r in results}
    named = []
    for result in results:
        paths = [parents[r] for r in results if r.name == result.name]
        first = _n_equal(paths)
        last = _n_equal([path[first:][::-1] for path in paths])
        part = parents[result][first : len(parents[result]) - last]
        named.append(replace(result, name="/".join([*part, result.name])))
    return named


def _n_equal(paths: Sequence[tuple[str, ...]]) -> int:
    """How many parts all of them begin with."""
    return next((n for n, parts in enumerate(zip(*paths, strict=False)) if len(set(parts)) > 1), min(map(len, paths)))


def _check_fold(results: ResultsFolder, fold: int, cases: list[str], file_ending: str) -> None:
    folder = results.prediction(fold, "", "")
    if not folder.is_dir():
        raise UserError(f"{results.path} has no validated fold {fold}: run nnUNetv2_train with --val, or leave it out.")
    found = {file.name.removesuffix(file_ending) for file in folder.glob(f"*{file_ending}")}
    if missing := sorted(set(cases) - found):
        raise UserError(f"{folder} lacks {len(missing)} of {len(cases)} cases ({', '.join(missing[:5])}): validate it.")
    if foreign := sorted(found - set(cases)):
        raise UserError(f"{folder} has cases that the fold does not have now, so its splits differ: {foreign[0]}.")
