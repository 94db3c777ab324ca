"""Undo and redo of what prompts overwrite, bounded in steps and in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

UNDO_STEPS = 32

UNDO_BYTES = 1 << 30
"""Memory for what steps have overwritten; the oldest steps are forgotten first."""

Exchange = Callable[[Any, Any], Any]
"""Writes values to a region and returns what was there."""


@dataclass
class Step:
    """Regions that a step wrote to, in order, and the values it overwrote (or, undone, those it had written)."""

    replaced: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for _, values in self.replaced)

    def swap(self, exchange: Exchange, *, backwards: bool) -> None:
        """Exchange the values kept here with those that are there."""
        order = range(len(self.replaced))
        for index in reversed(order) if backwards else order:
            region, values = self.replaced[index]
            self.replaced[index] = (region, exchange(region, values))


class History:
    """Steps that were done and can be undone, and those that were undone and can be done again.

    Whose history it is writes by itself, and tells what it overwrote inside :meth:`step`. It is handed over as an
    ``exchange`` function call by call, so that nothing here keeps it in memory.

    Arguments:
        make_step: makes an empty :class:`Step`, or one that knows more.
    """

    def __init__(self, make_step: Callable[[], Step] = Step) -> None:
        self._make_step = make_step
        self._done: deque[Step] = deque(maxlen=UNDO_STEPS)
        self._undone: list[Step] = []
        self._open: Step | None = None

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def clear(self) -> None:
        """What is there now cannot be undone."""
        self._done.clear()
        self._undone.clear()

    @contextmanager
    def step(self, exchange: Exchange) -> Iterator[Step]:
        """All that is overwritten inside is one step; after an error everything is as before. A step inside another is
        part of it."""
        if self._open is not None:
            yield self._open
            return
        step = self._open = self._make_step()
        try:
            yield step
        except BaseException:
            step.swap(exchange, backwards=True)
            raise
        finally:
            self._open = None
        self._done.append(step)
        self._undone.clear()
        while len(self._done) > 1 and sum(step.nbytes for step in self._done) > UNDO_BYTES:
            self._done.popleft()

    def remember(self, region: Any, values: Any) -> None:
        """Values of a region that were overwritten; outside a step there is nothing to go back to."""
        if self._open is not None:
            self._open.replaced.append((region, values))

    def undo(self, exchange: Exchange) -> Step:
        """Take the last step back, bit for bit.

        Raises:
            IndexError: if there is none.
        """
        step = self._done.pop()
        step.swap(exchange, backwards=True)
        self._undone.append(step)
        return step

    def redo(self, exchange: Exchange) -> Step:
        """Do the last undone step again, bit for bit.

        Raises:
            IndexError: if there is none.
        """
        step = self._undone.pop()
        step.swap(exchange, backwards=False)
        self._done.append(step)
        return step
