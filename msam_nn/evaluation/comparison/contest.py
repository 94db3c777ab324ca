"""Head to head: any nnU-Net results of one data set on the same splits, and the image-blind ellipsoid beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from msam_nn.errors import UserError, first_line
from msam_nn.evaluation.costs import load_predictor, measure_prediction, n_parameters, training_time
from msam_nn.evaluation.results_folder import (
    GroundTruth,
    ResultsFolder,
    open_ground_truth,
    open_results,
    told_apart,
    validation_splits,
)
from msam_nn.evaluation.scoring import ELLIPSOID, ScoringOptions, ScoringTask, fit_fold_ellipsoids, score_cases
from msam_nn.metrics.statistics import paired_tests
from msam_nn.metrics.summary import count_cases, summarise
from msam_nn.nnunet_folders import dataset_name, validation_cases
from msam_nn.reports.overlay import PREDICTION_COLOURS, OverlayCase

TESTED_METRICS = ("dice", "nsd")
COST_COLUMNS = ["method", "parameters", "training minutes per fold", "training CPU minutes per fold"]
MEASURED_COLUMNS = ["prediction seconds", "prediction CPU seconds", "peak GPU GiB"]


@dataclass(frozen=True)
class Contest:
    """What is compared: results folders with the same validation cases.

    Arguments:
        splits: fold -> its validation cases.
    """

    truth: GroundTruth
    splits: dict[int, list[str]]
    results: list[ResultsFolder]

    @property
    def fold_of(self) -> dict[str, int]:
        return {case: fold for fold, cases in self.splits.items() for case in cases}

    def predictions(self, case: str) -> dict[str, Path]:
        """Method -> the file it predicted for a case."""
        return {r.name: r.prediction(self.fold_of[case], case, self.truth.file_ending) for r in self.results}


@dataclass(frozen=True)
class Comparison:
    """All tables; see :mod:`summary` and :mod:`statistics` for their columns."""

    scores: pd.DataFrame
    summary: pd.DataFrame
    counts: pd.DataFrame
    tests: pd.DataFrame
    costs: pd.DataFrame


def open_contest(dataset: str, folds: Sequence[int], identifiers: Sequence[str]) -> Contest:
    """Find all results and check them before anything is computed.

    Raises:
        UserError: if anything is missing, incomplete, of another data set, or named twice.
    """
    dataset = dataset_name(dataset)
    splits = validation_splits(dataset, folds)
    truth = open_ground_truth(dataset, [case for cases in splits.values() for case in cases])
    results = [open_results(truth, identifier, splits) for identifier in identifiers]
    places = [r.path.resolve() for r in results]
    if twice := sorted({str(place) for place in places if places.count(place) > 1}):
        raise UserError(f"The same results are named twice: {', '.join(twice)}.")
    return Contest(truth, splits, told_apart(results))


def compare(
    contest: Contest, options: ScoringOptions, num_processes: int = 1, measure_on: torch.device | None = None
) -> Comparison:
    """Score, sum up, test.

    Arguments:
        measure_on: predict one case with every model on this device to measure time and memory; None does not.
    """
    scores = score_contest(contest, options, num_processes)
    costs = pd.DataFrame([costs_of(contest, results, measure_on) for results in contest.results])
    return Comparison(scores, summarise(scores), count_cases(scores), paired_tests(scores, TESTED_METRICS), costs)


def score_contest(contest: Contest, options: ScoringOptions, num_processes: int = 1) -> pd.DataFrame:
    """Every case and class of every method, the ellipsoid last; columns as :func:`score_cases`."""
    ellipsoids = fit_fold_ellipsoids(contest.truth, list(contest.splits))
    tasks = [
        ScoringTask(case, fold, contest.predictions(case), ellipsoids[fold]) for case, fold in contest.fold_of.items()
    ]
    scores = score_cases(contest.truth, tasks, options, num_processes)
    return scores.sort_values("method", key=lambda m: m == ELLIPSOID, kind="stable", ignore_index=True)


def costs_of(contest: Contest, results: ResultsFolder, measure_on: torch.device | None) -> dict[str, object]:
    """Costs of one method; NaN or None where the folder does not tell, or its network cannot be rebuilt or run here,
    for whatever reason: scores are worth more than costs."""
    fold, cases = next(iter(contest.splits.items()))
    minutes = np.mean([training_time(results.path / f"fold_{fold}") for fold in contest.splits], axis=0)
    try:
        predictor = load_predictor(results.path, [fold], measure_on or torch.device("cpu"))
    except Exception as error:  # of another version, of a trainer or package that is not installed
        _warn(results, "no parameters or prediction times", error)
        predictor = None
    values = [results.name, n_parameters(predictor) if predictor else None, *minutes.tolist()]
    row = dict(zip(COST_COLUMNS, values, strict=True))
    if measure_on is not None:
        images = validation_cases(contest.truth.dataset, fold)[cases[0]].images
        alone = predictor and predictor.configuration_manager.previous_stage_name is None
        measured = [None] * len(MEASURED_COLUMNS)
        try:
            measured = measure_prediction(predictor, images) if alone else measured
        except Exception as error:  # out of memory, for one
            _warn(results, "no prediction times", error)
        row |= dict(zip(MEASURED_COLUMNS, measured, strict=True))
    return row


def _warn(results: ResultsFolder, what: str, error: Exception) -> None:
    warnings.warn(f"{results.name}: {what}, {first_line(error)}", stacklevel=3)


def worst_cases(scores: pd.DataFrame, n: int) -> pd.DataFrame:
    """The cases with the lowest Dice of any model (the mean over its classes), worst first.

    Returns:
        Columns ``case, method, dice``: which model was worst on the case; the ellipsoid does not count.
    """
    of_models = scores[scores["method"] != ELLIPSOID]
    dice = of_models.groupby(["case", "method"], sort=False)["dice"].mean().dropna().reset_index()
    return dice.sort_values("dice", kind="stable").drop_duplicates("case").head(n).reset_index(drop=True)


def overlay_case(contest: Contest, case: str) -> OverlayCase | None:
    """A case with the predictions of the first three methods on its first channel; None if its raw image is missing."""
    truth = contest.truth
    labels, spacing = truth.read(truth.file(case))
    try:
        images = validation_cases(truth.dataset, contest.fold_of[case])[case].images
    except UserError:
        return None
    image = truth.reader().read_images([str(images[0])])[0][0]
    measured = labels != truth.ignore_label
    files = list(contest.predictions(case).items())[: len(PREDICTION_COLOURS)]
    predictions = {name: truth.read(file)[0] * measured for name, file in files}
    return OverlayCase(case, image, labels * measured, predictions, spacing)
