"""A simulated user who corrects whole volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from msam_nn.evaluation.clicks.case import ClickCase, click_generator
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.clicks import Click
from msam_nn.metrics.scores import TOLERANCE_MM
from msam_nn.prompts import click_of_largest_error, click_of_largest_section, foreground, uniform_click


@dataclass(frozen=True)
class WholeVolume:
    """One click a class and round, on the whole image, measured on its original grid.

    Arguments:
        n_clicks: after how many clicks a class to measure; 0 is the prediction before any.
        strategies: ``"centre"`` of the largest error, which needs no seed; of the largest error that a ``"slice"``
            shows, across an axis drawn anew for every click; or ``"uniform"`` over the error.
        seeds: of the strategies that draw.
        start: what the clicks correct: the ``"automatic"`` prediction, an ``"empty"`` mask, or a folder of label maps,
            one a case, named like it.
        network_only: leave out prediction's correction of clicks that the network overlooked.
        tolerance_mm: of the NSD.
        keep: called after so many clicks as are measured, with the predictor, the case, their number and the logits.
    """

    n_clicks: Sequence[int] = (0, 1, 3, 5, 10)
    strategies: Sequence[str] = ("centre",)
    seeds: Sequence[int] = (0,)
    start: Literal["automatic", "empty"] | Path = "automatic"
    network_only: bool = False
    tolerance_mm: float = TOLERANCE_MM
    keep: Callable[[PromptedPredictor, ClickCase, int, Tensor], None] | None = None

    @property
    def name(self) -> str:
        """What a report calls it."""
        return "whole volume, network alone" if self.network_only else "whole volume"

    def __call__(self, predictor: PromptedPredictor, case: ClickCase) -> Iterator[dict[str, Any]]:
        """Rows with ``label, strategy, seed, clicks, seconds`` and the scores.

        ``seconds`` is what the class's last click took, or the prediction before any; NaN where no click was needed.
        """
        began = perf_counter()
        masks = case.given_masks(predictor, self.start) if isinstance(self.start, Path) else []
        predictor.set_image(case.image, automatic=self.start == "automatic")
        predictor.image.honours_clicks = not self.network_only
        before = perf_counter() - began
        runs = [("centre", 0)] if "centre" in self.strategies else []
        runs += [
            (drawing, seed) for drawing in ("slice", "uniform") if drawing in self.strategies for seed in self.seeds
        ]
        for strategy, seed in runs:
            generator = click_generator(case.name, seed)
            logits, seconds = predictor.reset(), [before] * len(case.classes)
            for index, mask in enumerate(masks):
                logits = predictor.set_mask(index, mask)
            for clicks in range(max(self.n_clicks) + 1):
                if clicks:
                    for index in range(len(case.classes)):
                        logits, seconds[index] = _click_once(predictor, case, logits, index, strategy, generator)
                if clicks in self.n_clicks:
                    if self.keep is not None:
                        self.keep(predictor, case, clicks, logits)
                    scores = case.measure(predictor, logits, self.tolerance_mm)
                    for score, took in zip(scores, seconds, strict=True):
                        yield {"strategy": strategy, "seed": seed, "clicks": clicks, "seconds": took, **score}


def _click_once(
    predictor: PromptedPredictor,
    case: ClickCase,
    logits: Tensor,
    index: int,
    strategy: str,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Let the user click one class, if anything is wrong with it; the logits after it and the seconds it took."""
    exclusive = predictor.promptable.background
    masks = logits[1:] if exclusive else logits
    predicted = foreground(masks[None], exclusive=exclusive)[0, index].numpy() & case.valid
    target = case.targets[index] & case.valid
    spacing = predictor.configuration_manager.spacing
    if strategy == "centre":
        found = click_of_largest_error(predicted, target, spacing)
    elif strategy == "slice":
        found = click_of_largest_section(predicted, target, spacing, int(torch.randint(3, (), generator=generator)))
    else:
        found = uniform_click(predicted, target, generator)
    if found is None:
        return logits, float("nan")
    began = perf_counter()
    logits = predictor.add_click(Click(index, found[0], positive=found[1] == 1))
    return logits, perf_counter() - began
