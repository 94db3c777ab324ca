"""What a model is worth on another data set, without training there.

As in Table 2 of "Mask-Enhanced Segment Anything Model for Tumor Lesion Semantic Segmentation" (arXiv 2403.05912):
*before* the transfer is a model trained on the target, on the target's cases (in-domain); *after* is the source's model
on the same cases, without training there. Their *difference* (after minus before) is negative where the transfer costs
something, and the *rate* is that difference as a share of *before*: 0 where nothing is lost, -1 where all is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_raw
from tqdm import tqdm

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.evaluation.costs import load_predictor
from msam_nn.evaluation.results_folder import (
    GroundTruth,
    ResultsFolder,
    class_values,
    open_ground_truth,
    open_raw_truth,
    open_results,
    validation_splits,
)
from msam_nn.evaluation.scoring import ScoringOptions, ScoringTask, fit_fold_ellipsoids, score_cases
from msam_nn.image_files import insist_on_sound_images
from msam_nn.metrics.statistics import bootstrap_interval, case_mean, rightly_empty_counts
from msam_nn.metrics.summary import summarise
from msam_nn.nnunet_folders import channel_names, labelled_cases, model_folder, validation_cases
from msam_nn.reports.markdown import markdown_table

BEFORE, AFTER = "before", "after"
TRANSFERRED_METRICS = ("dice", "iou", "nsd")


@dataclass(frozen=True)
class Transfer:
    """Which model predicts which cases.

    Arguments:
        model: the source's. folds: those to ensemble.
        truth: the target's.
        cases: of the target -> image files in the order of the source's channels.
        target_values: label value the model predicts -> the target's value for the same classes.
        fold_of: case -> the target's fold that validates it; empty without a model of the target.
        in_domain: the target's own results, if there are any.
    """

    model: Path
    folds: tuple[int, ...]
    truth: GroundTruth
    cases: dict[str, list[Path]]
    target_values: dict[int, int]
    fold_of: dict[str, int]
    in_domain: ResultsFolder | None


def open_transfer(
    source: str, target: str, trainer: str, plans: str, configuration: str, folds: Sequence[int]
) -> Transfer:
    """Check that the source's model fits the target.

    Where the same trainer, plans and configuration have results on the target, the cases are the validation cases of
    these folds, which have to be validated; without results they are all labelled cases.

    Arguments:
        source, target: as :func:`~msam_nn.nnunet_folders.dataset_name` returns them.

    Raises:
        UserError: if the model is missing, the target is the source, or channels, classes or file formats differ.
    """
    if source == target:
        raise UserError(f"--source and --target are both {source}: msam compare scores a model on its own data set.")
    model = model_folder(source, trainer, plans, configuration, folds)
    known, asked = (load_json(str(f / "dataset.json")) for f in (model, Path(nnUNet_raw, target)))
    if known["file_ending"] != asked["file_ending"]:
        raise UserError(f"{source} has {known['file_ending']} files and {target} {asked['file_ending']}: convert one.")
    order = channel_order(known, asked, source, target)
    target_values = match_classes(class_values(known), class_values(asked), source, target)

    own = model_folder(target, trainer, plans, configuration)
    if own.is_dir():
        splits = validation_splits(target, folds)
        files = {case: files for fold in folds for case, files in validation_cases(target, fold).items()}
        truth = open_ground_truth(target, list(files))
        results = open_results(truth, own.name, splits)
        fold_of = {case: fold for fold, cases in splits.items() for case in cases}
    else:
        files, fold_of, results = labelled_cases(target), {}, None
        truth = open_raw_truth(target, {case: of_case.label for case, of_case in files.items()})
    images = {case: [of_case.images[i] for i in order] for case, of_case in files.items()}
    return Transfer(model, tuple(folds), truth, images, target_values, fold_of, results)


def channel_order(known: dict, asked: dict, source: str, target: str) -> list[int]:
    """For each channel of the source, the target's channel of the same name.

    Raises:
        UserError: if the data sets do not have the same channels.
    """
    names = [[name.lower() for name in channel_names(d)] for d in (known, asked)]
    if names[0] == names[1]:
        return list(range(len(names[0])))
    if sorted(names[0]) != sorted(names[1]) or len(set(names[0])) < len(names[0]):
        channels = [", ".join(channel_names(d)) for d in (known, asked)]
        raise UserError(f"The channels differ: {source} has {channels[0]}, {target} has {channels[1]}.")
    return [names[1].index(name) for name in names[0]]


def match_classes(
    known: dict[str, tuple[int, ...]], asked: dict[str, tuple[int, ...]], source: str, target: str
) -> dict[int, int]:
    """Match label values by the names of the classes and regions they belong to; what the target lacks becomes 0.

    Raises:
        UserError: if the source lacks a class of the target, or the values cannot tell its regions apart.
    """
    if missing := [name for name in asked if name not in known]:
        raise UserError(
            f"{source} does not know {', '.join(missing)} of {target}, only {', '.join(known)}: classes match by name."
        )
    all_values = sorted({v for values in known.values() for v in values})
    value_of = {_names(asked, v): v for values in asked.values() for v in values} | {frozenset(): 0}
    names_of = {v: _names({name: known[name] for name in asked}, v) for v in all_values}
    for names in names_of.values():
        if names not in value_of:
            raise UserError(f"{target} has no label for what is {' and '.join(sorted(names))} at once in {source}.")
    return {0: 0} | {v: value_of[names] for v, names in names_of.items()}


def _names(classes: dict[str, tuple[int, ...]], value: int) -> frozenset[str]:
    return frozenset(name for name, values in classes.items() if value in values)


def predict_transfer(transfer: Transfer, output: Path, device: torch.device, progress: bool = True) -> dict[str, Path]:
    """Predict every case with nnU-Net's predictor and its defaults, and write it with the target's label values.

    Returns:
        Case -> the file in ``output``.

    Raises:
        UnsupportedError: for the second stage of a cascade.
        UserError: if an image is damaged, before anything is predicted.
    """
    predictor = load_predictor(transfer.model, transfer.folds, device)
    if predictor.configuration_manager.previous_stage_name is not None:
        raise UnsupportedError("A cascade needs the stage before on the target's cases: use -c 3d_fullres.")
    io = predictor.plans_manager.image_reader_writer_class()
    table = np.zeros(max(transfer.target_values) + 1, np.uint8)
    for value, target_value in transfer.target_values.items():
        table[value] = target_value
    channels = len(channel_names(predictor.dataset_json))
    for case, images in tqdm(transfer.cases.items(), desc="checking images", disable=not progress):
        try:
            insist_on_sound_images(images, channels)
        except UserError as error:
            raise UserError(f"{case}: {error}") from error
    files = {}
    for case, images in tqdm(sorted(transfer.cases.items()), desc="predicting", disable=not progress):
        image, properties = io.read_images([str(file) for file in images])
        segmentation = predictor.predict_single_npy_array(image, properties)
        files[case] = output / (case + transfer.truth.file_ending)
        io.write_seg(table[segmentation], str(files[case]), properties)
    return files


def score_transfer(transfer: Transfer, files: dict[str, Path], options: ScoringOptions) -> pd.DataFrame:
    """Score after, before where there is one, and the image-blind ellipsoid of the target's training masks beside it.

    Returns:
        As :func:`scoring.score_cases`; fold is -1 for all where the target has no results.
    """
    folds = sorted(set(transfer.fold_of.values()))
    ellipsoids = fit_fold_ellipsoids(transfer.truth, folds) if folds else {}
    tasks = []
    for case, file in files.items():
        fold = transfer.fold_of.get(case, -1)
        predictions = {AFTER: file}
        if transfer.in_domain is not None:
            own = transfer.in_domain.prediction(fold, case, transfer.truth.file_ending)
            predictions = {BEFORE: own, **predictions}
        tasks.append(ScoringTask(case, fold, predictions, ellipsoids.get(fold)))
    return score_cases(transfer.truth, tasks, options)


def transfer_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Before, after, difference and rate per metric and class.

    Arguments:
        scores: as :func:`scoring.score_cases` returns them, methods ``after`` and perhaps ``before`` among them.

    Returns:
        Columns ``metric, label, cases``, the mean of every method, and with ``before`` also ``difference``, its
        bootstrap interval ``low, high`` over cases, and ``rate``, these of the cases where one of them has a value.
    """
    methods = list(scores["method"].unique())
    means = summarise(scores).query("metric in @TRANSFERRED_METRICS")
    table = means.pivot(index=["metric", "label"], columns="method", values="mean")
    table = table.loc[means.set_index(["metric", "label"]).index.unique(), methods]
    table.insert(0, "cases", means[means["method"] == AFTER].set_index(["metric", "label"])["cases"])
    if BEFORE in methods:
        pairs = [_pairs(scores, metric, label) for metric, label in table.index]
        table["difference"] = [case_mean(after - before) for before, after in pairs]
        table[["low", "high"]] = [bootstrap_interval(after - before) for before, after in pairs]
        table["rate"] = transfer_rate(
            *(pd.Series(map(case_mean, side), table.index) for side in zip(*pairs, strict=True))
        )
    return table.rename_axis(columns=None).reset_index()


def transfer_rate(before: pd.Series, after: pd.Series) -> pd.Series:
    """(after - before) / before; NaN where before is 0.

    >>> float(transfer_rate(pd.Series([61.54]), pd.Series([50.77])).round(3)[0])
    -0.175
    """
    return (after - before) / before.where(before > 0)


def transfer_markdown(transfer: Transfer, table: pd.DataFrame, source: str, tolerance_mm: float) -> str:
    """The table with what it means."""
    cases = "validation cases of the target's folds" if transfer.in_domain else "labelled cases, all the target has"
    lines = [
        f"# From {source} to {transfer.truth.dataset}",
        f"{transfer.model.name}, fold {', '.join(map(str, transfer.folds))}; {len(transfer.cases)} {cases}, whole "
        f"volumes; NSD at {tolerance_mm:g} mm.",
        markdown_table(table.set_index("metric")),
    ]
    if transfer.in_domain:
        lines.append(
            "Before: the model trained on the target. After: the source's model, without training there. Difference: "
            "after minus before where one of them has a value, with its 95 % bootstrap interval over cases; where the "
            "other is rightly empty beside a false alarm, it counts 1. Rate: that difference / before, of these cases."
        )
    return "\n\n".join(lines) + "\n"


def _pairs(scores: pd.DataFrame, metric: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, ``(cases, classes)``, NaN in both where neither is defined, and 1 for the one that is rightly
    empty beside the other's false alarm; every class where the label is none, so for the foreground."""
    of_label = scores[scores["label"] == label] if label in set(scores["label"]) else scores
    compared = rightly_empty_counts(of_label[of_label["method"].isin((BEFORE, AFTER))], [metric], ("case", "label"))
    before, after = (
        compared[compared["method"] == method].pivot(index="case", columns="label", values=metric)
        for method in (BEFORE, AFTER)
    )
    return tuple(side.to_numpy(float) for side in before.align(after))
