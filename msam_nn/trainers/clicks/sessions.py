"""How a training practises clicks: which samples are clicked, from which stage on, and how long a session lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch


class Session(NamedTuple):
    """The refinement stages of one training step.

    first_click: stage of the first click; ``n_stages`` for never.
    n_stages: all stages.
    silent: stages that run without gradient and are not learned from.
    """

    first_click: int
    n_stages: int
    silent: range = range(0)

    @property
    def is_automatic(self) -> bool:
        return self.first_click == self.n_stages


@dataclass(frozen=True)
class ClickRecipe:
    """A training step is automatic (the automatic stages alone, without clicks: short, so that many fit into a
    training), or clicked. In a clicked step the clicks begin after the automatic stages, as a user's do, or at an empty
    mask. In a long session clicks without gradient come before the learned ones, so the network meets
    late clicks at a third of their price; it begins after the automatic stages.

    Arguments:
        p_automatic: probability of an automatic step.
        p_from_nothing: of clicks from an empty mask on, in a clicked step that is no long session.
        p_long: of a long session among clicked steps.
        most_earlier: clicks before the learned ones of a long session, at most, at the end of the training; it rises
            from 1 with the training's progress.
        p_central: probability that a click goes to the centre of a large error instead of anywhere in the error.
        corrected: the simulated user looks at masks in which prediction has made every click hold.
    """

    p_automatic: float = 0.4
    p_from_nothing: float = 0.2
    p_long: float = 0.4
    most_earlier: int = 7
    p_central: float = 0.5
    corrected: bool = True

    def draw(self, *, n_auto_stages: int, n_click_stages: int, progress: float, generator: torch.Generator) -> Session:
        """
        Arguments:
            progress: share of the training that has passed, 0 to 1.
            generator: decides everything; of the CPU, so that nobody waits for a GPU to know how the step goes on.
        """
        kind, length, beginning = torch.rand(3, generator=generator).tolist()
        if kind < self.p_automatic:
            return Session(n_auto_stages, n_auto_stages)
        if kind < self.p_automatic + (1 - self.p_automatic) * self.p_long:
            earlier = 1 + int(length * max(1, round(progress * self.most_earlier)))
            silent = range(n_auto_stages, n_auto_stages + earlier)
            return Session(n_auto_stages, silent.stop + n_click_stages, silent)
        return Session(0 if beginning < self.p_from_nothing else n_auto_stages, n_auto_stages + n_click_stages)
