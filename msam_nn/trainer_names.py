"""The grammar of budgets in trainer names: ``<Trainer>_<n>epochs``, ``_<n>minutes`` and ``_<n>cpuminutes``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

UNITS = ("epoch", "minute", "cpuminute")
_PARTS = re.compile(r"(?P<base>\w+)_(?P<number>\d+)(?P<unit>[A-Za-z]+)")
_MOST = 1_000_000


class BudgetedName(NamedTuple):
    """A trainer name that says how long to train.

    base: the trainer whose budget it is.
    unit: one of :data:`UNITS`.

    >>> parse("MSAMTrainer_20minutes")
    BudgetedName(base='MSAMTrainer', number=20, unit='minute')
    >>> str(BudgetedName("MSAMTrainer", 1, "epoch"))
    'MSAMTrainer_1epoch'
    """

    base: str
    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.base}_{self.number}{self.unit}{'s' if self.number > 1 else ''}"


def parse(name: str) -> BudgetedName | None:
    """Take a name apart; None unless it is written exactly as the grammar writes it."""
    parts = _PARTS.fullmatch(name)
    if parts is None:
        return None
    budget = BudgetedName(parts["base"], int(parts["number"]), parts["unit"].removesuffix("s"))
    fits = budget.unit in UNITS and 1 <= budget.number <= _MOST
    return budget if fits and str(budget) == name else None


def nearest(name: str) -> BudgetedName | None:
    """What ``name`` was meant to be, where it ends almost as the grammar wants: ``_5mintues``, ``_0epochs``."""
    parts = _PARTS.fullmatch(name)
    if parts is None:
        return None
    unit = get_close_matches(parts["unit"].lower().removesuffix("s"), UNITS, n=1)
    return BudgetedName(parts["base"], min(max(int(parts["number"]), 1), _MOST), unit[0]) if unit else None
