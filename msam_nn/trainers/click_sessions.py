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
    silent: stages that run without gradient and are not learned from.
    """

    first_click: Tensor
    n_stages: int
    silent: range = range(0)


@dataclass(frozen=True)
class ClickRecipe:
    """A training step is automatic (the automatic stages alone, without clicks: short, so that many fit into a
    training), or clicked. In a clicked step most samples are clicked after the automatic stages, as a user does, some
    from an empty mask on. In a long session clicks without gradient come before the learned ones, so the network meets
    late clicks at a third of their price; it is then clicked after the automatic stages for all samples.

    Arguments:
        p_automatic: probability of an automatic step.
        p_from_nothing: of a sample in a clicked step that is no long session, to be clicked from an empty mask.
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
        device = generator.device
        kind, length = torch.rand(2, generator=generator, device=device).tolist()
        if kind < self.p_automatic:
            return Session(torch.full((batch_size,), n_auto_stages, device=device), n_auto_stages)
        if kind < self.p_automatic + (1 - self.p_automatic) * self.p_long:
            earlier = 1 + int(length * max(1, round(progress * self.most_earlier)))
            silent = range(n_auto_stages, n_auto_stages + earlier)
            first = torch.full((batch_size,), n_auto_stages, device=device)
            return Session(first, silent.stop + n_click_stages, silent)
        draw = torch.rand(batch_size, generator=generator, device=device)
        return Session(torch.where(draw < self.p_from_nothing, 0, n_auto_stages), n_auto_stages + n_click_stages)
