"""Dice over training time: validations of trainings with budgets of CPU minutes, as a table and a picture.

    python benchmarks/accuracy/learning_curves.py RESULTS -o curves.png

RESULTS is an ``nnUNet_results`` as ``msam arena`` fills it, ``seed_<n>/DATASET/TRAINER_<n>cpuminutes__PLANS__...``, and
fold 0 is read. Every point of a curve is a training of its own, because the learning rate falls with the budget; the
band goes from the worst to the best seed.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msam_nn.reports.markdown import markdown_table

TRAINING = re.compile(r"(?P<trainer>\w+?)_(?P<minutes>\d+)cpuminutes?__")


def read_scores(results: Path) -> pd.DataFrame:
    """Columns ``dataset, trainer, minutes, seed, dice`` (mean over cases and classes), a row a validated training."""
    rows = []
    for file in sorted(results.glob("seed_*/*/*/fold_0/validation/summary.json")):
        seed, dataset, model = file.relative_to(results).parts[:3]
        training = TRAINING.match(model)
        if training:
            dice = json.loads(file.read_text(encoding="utf-8"))["foreground_mean"]["Dice"]
            rows.append((dataset, training["trainer"], int(training["minutes"]), seed.removeprefix("seed_"), dice))
    return pd.DataFrame(rows, columns=["dataset", "trainer", "minutes", "seed", "dice"])


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, worst and best seed and the number of seeds, by ``dataset, minutes, trainer``."""
    groups = scores.groupby(["dataset", "minutes", "trainer"])["dice"]
    return groups.agg(mean="mean", worst="min", best="max", seeds="size")


def draw(scores: pd.DataFrame) -> Figure:
    """One panel a data set, one curve a trainer."""
    datasets = sorted(scores["dataset"].unique())
    figure = Figure(figsize=(5 * len(datasets), 4), layout="constrained")
    FigureCanvasAgg(figure)
    minutes = sorted(scores["minutes"].unique())
    colours = {trainer: f"C{index}" for index, trainer in enumerate(sorted(scores["trainer"].unique()))}
    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        of_set = summarise(scores[scores["dataset"] == dataset]).loc[dataset]
        for trainer, curve in of_set.groupby(level="trainer"):
            curve, colour = curve.droplevel("trainer"), colours[trainer]
            axes.fill_between(curve.index, curve["worst"], curve["best"], color=colour, alpha=0.2, linewidth=0)
            axes.plot(curve.index, curve["mean"], "o-", color=colour, label=trainer)
        axes.set(title=dataset, xlabel="CPU minutes of training", xscale="log", ylabel="Dice", ylim=(0, 1))
        axes.set_xticks(minutes, [str(m) for m in minutes], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture")
    arguments = parser.parse_args()
    scores = read_scores(arguments.results)
    if scores.empty:
        raise SystemExit(f"{arguments.results} holds no seed_<n> with a validated training of <n>cpuminutes.")
    print(markdown_table(summarise(scores)))
    draw(scores).savefig(arguments.output, dpi=120)


if __name__ == "__main__":
    main()
