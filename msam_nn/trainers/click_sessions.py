"""How a training practises clicks: which samples are clicked, from which stage on, and how long a session lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Session(NamedTuple):
    """The refinement stages of one training step.

    first_click: ``(B,)`` stage of each sample's first click; ``n_stages`` for never.
    n_stages: all stages.
    n_silent: of these, the first ones that run without gradient.
    """

    first_click: Tensor
    n_stages: int
    n_silent: int = 0


@dataclass(frozen=True)
class ClickRecipe:
    """Every sample of an ordinary step is automatic (no click), clicked from an empty mask on, or clicked after the
    automatic stages, as a user does. A long session is a step in which all samples are clicked after the automatic
    stages and only the last clicks are learned from; the ones before run without gradient, so the network meets late
    clicks at less than the price of an ordinary step.

    Arguments:
        p_automatic, p_from_nothing: probabilities of the first two kinds of samples.
        p_long: probability of a long session.
        most_earlier: clicks before the learned ones of a long session, at most, at the end of the training; it rises
            from 1 with the training's progress.
        p_central: probability that a click goes to the centre of a large error instead of anywhere in the error.
        corrected: the simulated user looks at masks in which prediction has made every click hold.
    """

    p_automatic: float = 0.4
    p_from_nothing: float = 0.2
    p_long: float = 0.3
    most_earlier: int = 7
    p_central: float = 0.5
    corrected: bool = True

    def draw(
        self,
        batch_size: int,
        *,
        n_auto_stages: int,
        n_click_stages: int,
        progress: float,
        generator: torch.Generator,
    ) -> Session:
        """
        Arguments:
            progress: share of the training that has passed, 0 to 1.
            generator: decides everything, on whatever device it lives.
        """
        n_stages, device = n_auto_stages + n_click_stages, generator.device
        if self.p_long and torch.rand(1, generator=generator, device=device).item() < self.p_long:
            most = max(1, round(progress * self.most_earlier))
            n_silent = n_auto_stages + int(torch.randint(1, most + 1, (1,), generator=generator, device=device))
            return Session(torch.full((batch_size,), n_auto_stages, device=device), n_silent + n_click_stages, n_silent)
        draw = torch.rand(batch_size, generator=generator, device=device)
        first = torch.where(draw < self.p_automatic + self.p_from_nothing, 0, n_auto_stages)
        return Session(torch.where(draw < self.p_automatic, n_stages, first), n_stages)
