"""Numbers and names as sentences and tables of a report write them."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan


def number(value: float) -> str:
    """Three significant digits and no exponent: ``0.00412``, ``27.9``, ``2339``."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1g}"


def signed(value: float) -> str:
    """``+0.120``; a dash where there is no value."""
    return "–" if isnan(value) else f"{value:+.3f}"


def with_interval(mean: float, low: float, high: float) -> str:
    """``+0.120 [-0.003, +0.240]``, or what there is of it."""
    return signed(mean) if isnan(low) else f"{signed(mean)} [{signed(low)}, {signed(high)}]"


def p_value(p: float) -> str:
    """Two significant digits; a dash where nothing was tested."""
    return "–" if isnan(p) else f"{p:.2g}"


def times(values: Iterable[float]) -> str:
    """``4 × 8 × 0.75``."""
    return " × ".join(map(number, values))


def volume(mm3: float) -> str:
    """In ml from 0.1 ml on, else in mm³."""
    return f"{number(mm3 / 1000)} ml" if mm3 >= 100 else f"{number(mm3)} mm³"


def listed(names: Iterable[str], shown: int = 5) -> str:
    """``a, b, c and 4 more``."""
    names = list(names)
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
